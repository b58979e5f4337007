"""How Triton kernels are tested: on a GPU where there is one, always in Triton's interpreter, and by compiling them.

A test marked `triton` takes the fixture `triton_device` and runs kernels on tensors of that device. Each file with such
tests has one more, which runs them all in a process of its own with the interpreter:

    def test_all_in_the_interpreter(run_interpreted):
        run_interpreted()

The fixture `compile_to_cubin` compiles a kernel for a GPU that need not be there.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from linbench.kernels import triton_tools

ROOT = Path(__file__).parents[2]


class Compiled(NamedTuple):
    """What `ptxas` says of a kernel: registers of a thread, bytes spilled, and the assembler text."""

    registers: int
    spills: int
    ptx: str

    @property
    def spilled(self):
        """Whether it spilled more than the few bytes that some versions of Triton and ptxas do here and there."""
        return self.spills > 64


def pytest_configure(config):
    config.addinivalue_line("markers", "triton: runs Triton kernels, on a GPU or in the interpreter")


def pytest_sessionstart():
    if triton_tools.INTERPRETED:
        _repair_loops()


def _repair_loops():
    """Bounds of loops as newer versions of Triton read them: Triton 3.2 does so in a way that numpy 2.4 has ended."""
    import triton
    from triton.runtime import errors, interpreter

    @triton.jit
    def trial(count):
        for _ in range(count):
            pass

    patch = interpreter._patch_lang_tensor

    def patch_and_repair(tensor):
        patch(tensor)
        tensor.__index__ = lambda self: int(self.handle.data.squeeze())

    try:
        trial[(1,)](1)
    except errors.InterpreterError as error:
        if not isinstance(error.__cause__, TypeError):
            raise
        interpreter._patch_lang_tensor = patch_and_repair


def pytest_runtest_setup(item):
    if item.get_closest_marker("triton") and not triton_tools.INTERPRETED:
        reason = triton_tools.triton_refusal("cuda")
        if reason:
            pytest.skip(f"{reason}; run by this file's test of the interpreter")


@pytest.fixture
def triton_device():
    """The device type of the tensors that Triton kernels take here."""
    return "cpu" if triton_tools.INTERPRETED else "cuda"


@pytest.fixture
def device_of(triton_device):
    """`device_of(backend)`: the device type on which a test runs a backend."""
    return lambda backend: triton_device if backend == "triton" else "cpu"


@pytest.fixture
def run_interpreted(request):
    """Runs the tests marked `triton` of the calling file in Triton's interpreter."""

    def run(*options):
        if triton_tools.INTERPRETED:
            pytest.skip("this process interprets already")
        pytest.importorskip("triton")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "triton", "-p", "no:cacheprovider", *options]
        environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
        result = subprocess.run(
            [*command, str(request.path)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{result.stdout[-20000:]}\n{result.stderr[-5000:]}"
        assert re.search(r"\d+ passed", result.stdout), result.stdout

    return run


@pytest.fixture
def compile_to_cubin():
    """`compile_to_cubin(kernel, signature, constexprs, capability, ...)`: a `Compiled`, without a GPU.

    `kernel` is a `@triton.jit` function; `signature` maps the names of all its run-time arguments to Triton's types
    (`"*bf16"`, `"i32"`, `"fp32"`), `constexprs` the others to their values; `capability` is 80, 90, ...
    Pointers and the integers named in `divisible` count as divisible by 16, as they are in practice.
    """
    triton = pytest.importorskip("triton")
    if triton_tools.INTERPRETED:
        pytest.skip("the interpreter compiles nothing")
    from triton.backends import compiler
    from triton.backends.nvidia import compiler as nvidia
    from triton.compiler import ASTSource

    version = tuple(map(int, triton.__version__.split(".")[:2]))
    if version == (3, 3):
        pytest.skip("Triton 3.3 is compiled for another way; 3.2, 3.4 and newer are checked")
    old = version < (3, 3)

    def compile_(kernel, signature, constexprs, capability, *, divisible=(), num_warps=4, num_stages=1):
        names = kernel.arg_names
        assert set(signature) | set(constexprs) == set(names), set(signature) | set(constexprs) ^ set(names)
        full = {name: signature.get(name, "constexpr") for name in names if name in signature or not old}
        hinted = [name for name, kind in signature.items() if kind.startswith("*") or name in divisible]
        if old:
            attributes = compiler.AttrsDescriptor.from_hints({names.index(name): 16 for name in hinted})
        else:
            attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in hinted}
        source = ASTSource(kernel, full, constexprs, attributes)
        options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
        ptx = triton.compile(source, target=compiler.GPUTarget("cuda", capability, 32), options=options).asm["ptx"]
        target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE).group(1)
        ptxas = nvidia._path_to_binary("ptxas")[0] if old else nvidia.get_ptxas(capability).path
        command = [ptxas, "-v", f"--gpu-name={target}", "-", "-o", os.devnull]
        said = subprocess.run(command, input=ptx, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        registers = int(re.search(r"Used (\d+) registers", said.stderr).group(1))
        spills = sum(map(int, re.findall(r"(\d+) bytes spill", said.stderr)))
        return Compiled(registers, spills, ptx)

    return compile_
