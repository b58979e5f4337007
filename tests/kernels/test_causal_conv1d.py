import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import causal_conv1d
from linbench.kernels.causal_conv1d import cpu
from linbench.kernels.causal_conv1d.cases import CASES
from linbench.kernels.causal_conv1d.op import causal_conv1d_op
from torch.nn import functional as F

FAST = ("cpu", "torch")


def draw(batch, channels, tokens, width, *, bias=True, time_major=False, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, tokens, channels) if time_major else (batch, channels, tokens)
    x, g = torch.randn(2, *shape, generator=generator, dtype=dtype)
    x, g = (y.transpose(1, 2) if time_major else y for y in (x, g))
    weight = torch.randn(channels, width, generator=generator, dtype=dtype)
    return [x, weight, *([torch.randn(channels, generator=generator, dtype=dtype)] if bias else [])], g


def run(inputs, g, **options):
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = causal_conv1d(*leaves, **options)
    return y.detach(), *torch.autograd.grad(y, leaves, g)


def by_torch(x, weight, bias=None, *, activation=None, reverse=False):
    """The usual way to write it, flips included."""
    tokens, width = x.shape[2], weight.shape[1]
    x = x.flip(2) if reverse else x
    y = F.conv1d(x, weight[:, None], bias, padding=width - 1, groups=len(weight))[..., :tokens]
    y = F.silu(y) if activation else y
    return y.flip(2) if reverse else y


OPTIONS = {
    "batch": st.integers(1, 2),
    "channels": st.sampled_from([1, 3, 17, 33]),
    "tokens": st.one_of(st.integers(1, 9), st.sampled_from([31, 64, 65, 1025, 2050])),
    "width": st.integers(1, 5),
    "bias": st.booleans(),
    "time_major": st.booleans(),
    "activation": st.sampled_from([None, "silu"]),
    "reverse": st.booleans(),
    "seed": st.integers(0, 1000),
}


@settings(max_examples=30, deadline=None)
@given(**OPTIONS)
@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_backends_match_torch_convolution(
    backend, batch, channels, tokens, width, bias, time_major, activation, reverse, seed
):
    inputs, g = draw(batch, channels, tokens, width, bias=bias, time_major=time_major, seed=seed)
    doubles = [x.double().requires_grad_() for x in inputs]
    y = by_torch(*doubles, activation=activation, reverse=reverse)
    right = y, *torch.autograd.grad(y, doubles, g.double())
    got = run(inputs, g, activation=activation, reverse=reverse, backend=backend)
    for value, expected in zip(got, right, strict=True):
        tolerance = 1e-5 * max(1.0, expected.abs().max().item())
        assert (value.double() - expected).abs().max() <= tolerance
    if time_major and channels > 1 and tokens > 1:
        assert got[0].stride(1) == 1


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize(("activation", "reverse"), [("silu", False), ("silu", True), (None, True)])
def test_gradients_by_finite_differences(backend, activation, reverse):
    inputs, _ = draw(2, 3, 6, 4, dtype=torch.float64)

    def call(*tensors):
        return causal_conv1d(*tensors, activation=activation, reverse=reverse, backend=backend)

    assert torch.autograd.gradcheck(call, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_it_is_causal_in_its_direction(backend):
    inputs, _ = draw(1, 5, 40, 4)
    changed = [inputs[0].clone(), *inputs[1:]]
    changed[0][..., 20] += 1
    for reverse, reached in ((False, range(20, 24)), (True, range(17, 21))):
        options = {"reverse": reverse, "backend": backend}
        moved = (causal_conv1d(*inputs, **options) != causal_conv1d(*changed, **options)).any(1)[0]
        assert moved.nonzero().flatten().tolist() == list(reached)


@pytest.mark.parametrize("backend", FAST)
def test_short_storage_is_rounded_once(backend):
    inputs, g = draw(1, 7, 33, 4)
    short = [inputs[0].bfloat16(), *inputs[1:]]
    got = run(short, g.bfloat16(), activation="silu", backend=backend)
    assert [value.dtype for value in got] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    right = run([x.double() for x in short], g.bfloat16().double(), activation="silu", backend="reference")
    for value, expected in zip(got, right, strict=True):
        assert (value.double() - expected).abs().max() <= 8e-3 * expected.abs().max()


@pytest.mark.parametrize("time_major", [False, True])
def test_every_output_is_written(monkeypatch, time_major):
    inputs, g = draw(2, 19, 1100, 4, time_major=time_major)
    expected = run(inputs, g, activation="silu", backend="cpu")
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    assert all(map(torch.equal, run(inputs, g, activation="silu", backend="cpu"), expected))


@pytest.mark.parametrize("reverse", [False, True])
def test_chunk_boundaries_do_not_show(monkeypatch, reverse):
    inputs, g = draw(1, 3, 100, 4)
    expected = run(inputs, g, activation="silu", reverse=reverse, backend="torch")
    for chunk in (5, 32):
        fresh = cpu._forward_rows.py_func.__globals__ | {"_CHUNK": chunk}
        rows = type(cpu._forward_rows.py_func)(cpu._forward_rows.py_func.__code__, fresh)
        x, weight, bias = (y.numpy() for y in inputs)
        y = torch.full((3, 100), torch.nan)
        rows(0, 3, x[0], weight, bias, True, reverse, y.numpy())
        torch.testing.assert_close(y, expected[0][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": torch.zeros(4, 6)}, "x"),
        ({"x": torch.zeros(1, 4, 0)}, "x"),
        ({"x": torch.zeros(1, 4, 6, dtype=torch.int64)}, "x"),
        ({"weight": torch.zeros(3, 4)}, "weight"),
        ({"weight": torch.zeros(4, 0)}, "weight"),
        ({"weight": torch.zeros(4, 1, 4)}, "weight"),
        ({"bias": torch.zeros(3)}, "bias"),
        ({"bias": torch.zeros(4, device="meta")}, "bias"),
        ({"activation": "gelu"}, "activation"),
        ({"backend": "cuda"}, "backend"),
    ],
)
def test_bad_arguments_are_named(change, name):
    arguments = {"x": torch.zeros(1, 4, 6), "weight": torch.zeros(4, 4), "bias": torch.zeros(4)} | change
    with pytest.raises(UsageError, match=f"^{name}: .*(expected|has)"):
        causal_conv1d(**arguments)


def test_forced_backends_that_cannot_serve_say_why():
    (x, weight), _ = draw(1, 2, 3, 4, bias=False)
    with pytest.raises(BackendError, match="float64"):
        causal_conv1d(x.double(), weight, backend="cpu")
    with pytest.raises(BackendError, match=r"causal_conv1d.*cuda"):
        causal_conv1d(x, weight, backend="causal_conv1d")


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("time_major", [False, True])
def test_registration_passes_opcheck(backend, time_major):
    inputs, _ = draw(2, 5, 9, 4, time_major=time_major)
    leaves = [x.requires_grad_() for x in inputs]
    torch.library.opcheck(causal_conv1d_op, (*leaves, True, False, backend))
    torch.library.opcheck(causal_conv1d_op, (*leaves[:2], None, False, True, backend))


def test_compiles_without_graph_breaks():
    inputs, g = draw(1, 4, 20, 4)
    leaves = [x.requires_grad_() for x in inputs]

    def block(*tensors):
        return 2 * causal_conv1d(*tensors, activation="silu", reverse=True)

    expected = block(*leaves)
    y = torch.compile(block, fullgraph=True, backend="aot_eager")(*leaves)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, g), torch.autograd.grad(expected, leaves, g))


def test_work_is_counted_by_hand():
    shape = {"B": 1, "D": 2, "L": 3, "W": 4}
    forward, backward = CASES[0].forward(shape, 2), CASES[0].backward(shape, 2)
    # Four multiply-adds, and a division and a product for the SiLU, at 6 elements; x in, y out, 10 weights.
    assert (forward.flops, forward.bytes, forward.exps) == (6 * 10, 2 * (6 + 6 + 10), 6)
    # x and the output's gradient in, that of x out; weights in and their gradients out.
    assert (backward.flops, backward.bytes, backward.exps) == (6 * 30, 2 * (3 * 6 + 2 * 10), 6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_run(case):
    shape = {**case.shape, "L": min(case.shape["L"], 50)}
    tensors = case.inputs(shape, torch.Generator().manual_seed(0))
    expected = case.call({name: x.double() for name, x in tensors.items()}, "reference")
    torch.testing.assert_close(case.call(tensors, "cpu").double(), expected, rtol=1e-5, atol=1e-5)
