"""What a compiler sees of the Triton kernels: operators that are one node each, whose results it knows beforehand.

Autograd asks for a stream of the device even for fake tensors, so that without a GPU only calls below it can be made
with fake tensors on one: those that a real forward and backward pass makes, on tensors of the same layouts.
"""

import pytest
import torch
from linbench.kernels import operator_backends, triton_tools
from linbench.kernels.cases import operator_cases
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

pytest.importorskip("triton")

OPERATORS = {status.operator for status in operator_backends() if status.backend == "triton"}
LARGEST = {"B": 2, "T": 9, "L": 9, "D": 4, "C": 8, "H": 2, "W": 3, "N": 2}
# Of a size for the interpreter; the first case is a backbone's, the last an awkward one.
CASES = {
    f"{operator} {case.name}": case.resized(
        {name: min(size, LARGEST[name]) for name, size in case.shape.items() if name in LARGEST}
    )
    for operator, cases in operator_cases().items()
    for case in (cases[0], *(case for case in cases[1:-1] if case.name.endswith(("gate", "reversed"))), cases[-1])
    if operator in OPERATORS
}


def swapped(x):
    """The same numbers, the last two axes swapped in memory."""
    return x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.ndim > 1 else x


def sliced(x):
    """The same numbers, as every second of a row twice as long."""
    return x.repeat_interleave(2, -1)[..., ::2]


LAYOUTS = {"contiguous": torch.Tensor.contiguous, "swapped": swapped, "sliced": sliced}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """The interpreter's time goes with the size of tiles."""
    if triton_tools.INTERPRETED:
        from linbench.kernels.selective_scan_2d import triton

        monkeypatch.setattr(triton, "TILE", 4)
        monkeypatch.setattr(triton, "BLOCK", 4)


def prepared(case, layout, device):
    """A case's inputs, differentiable where they can be."""
    drawn = case.inputs(case.shape, torch.Generator().manual_seed(0))
    tensors = {name: LAYOUTS[layout](x.to(device)) for name, x in drawn.items()}
    return {name: x.requires_grad_(x.is_floating_point()) for name, x in tensors.items()}


def differentiated(call, tensors):
    """Outputs and gradients of the inputs."""
    leaves = [x for x in tensors.values() if x.requires_grad]
    outputs = tree_leaves(call(tensors))
    grads = torch.autograd.grad(outputs, leaves, [torch.cos(y.detach()) for y in outputs], materialize_grads=True)
    return [*outputs, *grads]


class Recorder(TorchDispatchMode):
    """Keeps every call of an operator of LinBench, with its results."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        if func.namespace == "linbench":
            self.calls.append((func, args, results))
        return results


def on_a_gpu(x):
    """A fake tensor of the same sizes, strides and type."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")


def described(results):
    """Sizes, strides along which there is more than one element, and types."""
    return [
        (tuple(x.shape), [step for size, step in zip(x.shape, x.stride(), strict=True) if size > 1], x.dtype)
        for x in tree_leaves(results)
    ]


@pytest.mark.triton
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_fake_results_are_like_the_real_ones(triton_device, case, layout):
    tensors = prepared(case, layout, triton_device)
    with Recorder() as recorder:
        differentiated(lambda given: case.call(given, "triton"), tensors)
    assert len(recorder.calls) == 2
    with FakeTensorMode(allow_non_fake_inputs=False):
        for func, args, results in recorder.calls:
            fake = func(*tree_map_only(torch.Tensor, on_a_gpu, args))
            assert described(fake) == described(results), func
            assert {x.device.type for x in tree_leaves(fake)} == {"cuda"}, func


@pytest.mark.triton
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_compiles_without_graph_breaks_forward_and_backward(triton_device, case):
    tensors = prepared(case, "contiguous", triton_device)
    # All cases share the code that is compiled.
    torch.compiler.reset()
    compiled = torch.compile(lambda given: case.call(given, "triton"), fullgraph=True, backend="aot_eager")
    expected = differentiated(lambda given: case.call(given, "triton"), tensors)
    torch.testing.assert_close(differentiated(compiled, tensors), expected)


@pytest.mark.skipif(triton_tools.INTERPRETED, reason="the interpreter takes no tensors on a GPU")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_call_on_a_gpu_is_one_node(monkeypatch, case, layout):
    monkeypatch.setattr(triton_tools, "_gpu_refusal", lambda: "")
    tensors = prepared(case, layout, "cpu")
    with FakeTensorMode(), torch.no_grad():
        fakes = {name: on_a_gpu(x) for name, x in tensors.items()}
        graph = make_fx(lambda given: case.call(given, "auto"))(fakes).graph
    operators = [node for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    ours = [node for node in operators if node.target.namespace == "linbench"]
    assert len(ours) == 1
    assert "triton" in ours[0].args
    # What stands beside it is how the case itself makes its tokens.
    beside = [node.target for node in operators if node is not ours[0]]
    assert all(target.is_view or target.__name__ in ("clone.default", "_unsafe_view.default") for target in beside)


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()
