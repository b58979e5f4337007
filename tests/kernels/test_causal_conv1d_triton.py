import re

import pytest
import torch
from linbench.errors import BackendError
from linbench.kernels import causal_conv1d, triton_tools
from linbench.kernels.causal_conv1d.op import causal_conv1d_op

pytest.importorskip("triton")
module = pytest.importorskip("linbench.kernels.causal_conv1d.triton")


def draw(batch, channels, tokens, width, bias, device="cpu", dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, batch, channels, tokens, generator=generator).to(device, dtype)
    rows = [torch.randn(channels, width, generator=generator).to(device)]
    return [x, *rows, *([torch.randn(channels, generator=generator).to(device)] if bias else [])], g


def run(inputs, g, **options):
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = causal_conv1d(*leaves, **options)
    return y.detach(), *torch.autograd.grad(y, leaves, g)


@pytest.mark.triton
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("shape", "activation"),
    [
        ((1, 1, 1, 4, True), "silu"),
        ((2, 5, 37, 4, True), "silu"),
        ((1, 3, 20, 3, False), None),
        ((1, 2, 2, 5, False), "silu"),
    ],
)
def test_matches_the_pytorch_form(triton_device, monkeypatch, shape, activation, reverse, time_major):
    inputs, g = draw(*shape, triton_device)
    if time_major:
        inputs[0] = inputs[0].transpose(1, 2).contiguous().transpose(1, 2)
    options = {"activation": activation, "reverse": reverse}
    right = run([x.double() for x in inputs], g.double(), backend="torch", **options)
    monkeypatch.setattr(module, "_TILE", 32)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    got = run(inputs, g, backend="triton", **options)
    for value, expected in zip(got, right, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.triton
def test_short_and_strided_storage(triton_device):
    inputs, g = draw(2, 4, 21, 4, True, triton_device, torch.bfloat16)
    right = run([x.double() for x in inputs], g.double(), activation="silu", backend="torch")
    inputs[0] = torch.cat((inputs[0], inputs[0]), 1)[:, 4:]
    got = run(inputs, g, activation="silu", backend="triton")
    assert [value.dtype for value in got] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    for value, expected in zip(got, right, strict=True):
        assert (value.double() - expected).abs().max() <= 8e-3 * expected.abs().max()


@pytest.mark.triton
def test_registration_passes_opcheck(triton_device):
    inputs, _ = draw(1, 3, 9, 4, True, triton_device)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    arguments = (*[x.requires_grad_() for x in inputs], True, False, "triton")
    torch.library.opcheck(causal_conv1d_op, arguments, test_utils=checks)


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.skipif(triton_tools.INTERPRETED, reason="the interpreter takes CPU tensors")
def test_cpu_tensors_are_refused_with_the_reason():
    with pytest.raises(BackendError, match=r"causal_conv1d.*triton.*TRITON_INTERPRET=1"):
        causal_conv1d(torch.zeros(1, 2, 3), torch.zeros(2, 4), backend="triton")


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_compiles_without_spills(compile_to_cubin, direction, capability):
    kernel = getattr(module, f"_{direction}_kernel")
    pointers = {
        "x": "*bf16",
        "weight": "*fp32",
        "bias": "*fp32",
        "y": "*bf16",
        "g": "*bf16",
        "gx": "*bf16",
        "sums": "*fp32",
    }
    constexprs = {"WIDTH": 4, "SILU": True, "REVERSE": False, "HAS_BIAS": True, "CHANNELS": 2, "TOKENS": 512}
    constexprs |= {name: 1 for name in kernel.arg_names if name.endswith("_t")}
    signature = {name: pointers.get(name, "i32") for name in kernel.arg_names if name not in constexprs}
    aligned = [name for name in signature if name.endswith(("_b", "_d")) or name in ("channels", "tokens")]
    compiled = compile_to_cubin(kernel, signature, constexprs, capability, divisible=aligned)
    assert not compiled.spilled
    assert re.search(r"st\.global(\.\w+)*\.v4", compiled.ptx), "not written 16 bytes at a time"
