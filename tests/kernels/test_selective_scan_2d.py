import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import cross_merge, cross_scan, register_flop_formulas, selective_scan, selective_scan_2d
from linbench.kernels.selective_scan_2d.op import selective_scan_2d_op
from torch.utils.flop_counter import FlopCounterMode

NAMES = ("y", "x", "delta", "A", "B", "C", "D", "delta_bias")
BACKENDS = ("cpu", "torch")


def draw(batch, channels, height, width, states, dtype=torch.float32, seed=0, neighbours=True):
    """Inputs with the channels of a pixel next to each other in memory, or the pixels of a channel."""
    rng = np.random.RandomState(seed)

    def image(*middle):
        values = torch.tensor(rng.standard_normal((batch, height, width, *middle)), dtype=dtype).movedim(
            (1, 2), (-2, -1)
        )
        return values if neighbours else values.contiguous()

    def parameter(*shape):
        return torch.tensor(rng.standard_normal(shape), dtype=dtype)

    rates = -torch.exp(0.5 * parameter(4 * channels, states))
    images = image(channels), 0.5 * image(4, channels), image(4, states), image(4, states)
    x, delta, B, C = images
    return [x, delta, rates, B, C, parameter(4 * channels), 0.5 * parameter(4 * channels) - 1]


def run(inputs, g, **options):
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = selective_scan_2d(*leaves, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, g.to(y))]


def truth(inputs, g, **options):
    return run([x.double() for x in inputs], g.double(), backend="reference", **options)


def assert_close(got, expected, tolerance=2e-5):
    for name, value, right in zip(NAMES, got, expected, strict=False):
        error = (value.double().cpu() - right).abs().max()
        assert error <= tolerance * right.abs().max() + 1e-30, f"{name}: {error:.1e} of {right.abs().max():.1e}"


SHAPES = st.tuples(st.integers(1, 2), st.integers(1, 70), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, softplus=st.booleans(), neighbours=st.booleans())
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_match_the_formula_forward_and_backward(backend, shape, softplus, neighbours):
    inputs = draw(*shape, neighbours=neighbours)
    if not softplus:
        inputs[1], inputs[6] = 0.1 * inputs[1].abs(), inputs[6].abs()
    g = torch.randn(inputs[0].shape)
    results = run(inputs, g, delta_softplus=softplus, backend=backend)
    assert_close(results, truth(inputs, g, delta_softplus=softplus))
    assert results[0].stride() == torch.empty_like(inputs[0]).stride()


@pytest.mark.parametrize(("channels", "states"), [(6, 1), (3, 4)])
def test_is_scan_then_selective_scan_then_merge(channels, states):
    x, delta, A, B, C, D, bias = draw(2, channels, 5, 7, states, torch.float64)
    # The scan of a map of each direction's own: its part of the scan of all.
    own = [cross_scan(t.flatten(1, 2)).unflatten(2, (4, -1)) for t in (delta, B, C)]
    steps, Bs, Cs = (torch.stack([t[:, k, k] for k in range(4)], 1) for t in own)
    y = selective_scan(
        cross_scan(x).flatten(1, 2),
        steps.flatten(1, 2),
        A,
        Bs,
        Cs,
        D,
        None,
        bias,
        delta_softplus=True,
        backend="reference",
    )
    expected = cross_merge(y.view(2, 4, channels, 5, 7)).view(x.shape)
    for backend in ("reference", "torch"):
        got = selective_scan_2d(x, delta, A, B, C, D, bias, delta_softplus=True, backend=backend)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_gradients_by_finite_differences(backend):
    inputs = [x.requires_grad_() for x in draw(1, 2, 2, 3, 2, torch.float64)]
    assert torch.autograd.gradcheck(
        lambda *inputs: selective_scan_2d(*inputs, delta_softplus=True, backend=backend), inputs
    )
    assert torch.autograd.gradcheck(lambda *inputs: selective_scan_2d(*inputs, backend=backend), inputs[:5])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_turned_map_gives_the_turned_result(backend):
    x, delta, A, B, C, D, bias = draw(1, 20, 5, 4, 3)
    options = {"delta_softplus": True, "backend": backend}
    right = selective_scan_2d(x, delta, A, B, C, D, bias, **options)
    swap = torch.tensor([2, 3, 0, 1])
    rows = torch.arange(80).view(4, 20)[swap].flatten()
    turned = [t.flip(-1, -2) for t in (x, delta[:, swap], B[:, swap], C[:, swap])]
    got = selective_scan_2d(turned[0], turned[1], A[rows], *turned[2:], D[rows], bias[rows], **options)
    torch.testing.assert_close(got.flip(-1, -2), right, rtol=1e-5, atol=1e-5)
    swap = torch.tensor([1, 0, 3, 2])
    rows = torch.arange(80).view(4, 20)[swap].flatten()
    turned = [t.mT for t in (x, delta[:, swap], B[:, swap], C[:, swap])]
    got = selective_scan_2d(turned[0], turned[1], A[rows], *turned[2:], D[rows], bias[rows], **options)
    torch.testing.assert_close(got.mT, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("states", [1, 3])
def test_large_steps_and_rates_stay_finite(backend, states):
    inputs = draw(1, 17, 6, 5, states)
    inputs[1], inputs[2] = 20 * inputs[1], 30 * inputs[2]
    g = torch.randn(inputs[0].shape)
    results = run(inputs, g, delta_softplus=True, backend=backend)
    assert all(result.isfinite().all() for result in results)
    assert_close(results, truth(inputs, g, delta_softplus=True), 5e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_optional_parts_may_be_absent_and_maps_may_be_slices(backend):
    x, delta, A, B, C, D, _ = draw(2, 40, 4, 3, 2)
    projected = torch.cat((x, x), 1).to(memory_format=torch.channels_last)
    inputs = [projected[:, 20:60], delta.abs().contiguous(), A, B.expand(2, 4, 2, 4, 3), C]
    expected = selective_scan_2d(*(t.double().contiguous() for t in inputs), backend="reference")
    leaves = [t.detach().requires_grad_() for t in inputs]
    y = selective_scan_2d(*leaves, backend=backend)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    grads = torch.autograd.grad(y.sum(), leaves)
    assert [grad.shape for grad in grads] == [leaf.shape for leaf in leaves]
    y = selective_scan_2d(*inputs, D, None, backend=backend)
    skipped = (D.view(4, 40).sum(0)[:, None, None] * inputs[0]).double()
    torch.testing.assert_close(y.double(), expected + skipped, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("states", [1, 2])
def test_threads_change_nothing_and_every_output_is_written(monkeypatch, threads, states):
    inputs, before = draw(3, 100, 6, 5, states), torch.get_num_threads()
    g = torch.randn(inputs[0].shape)
    expected = run(inputs, g, delta_softplus=True, backend="cpu")
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    torch.set_num_threads(threads)
    try:
        results = run(inputs, g, delta_softplus=True, backend="cpu")
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, results, expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_storage(backend):
    inputs = [t.bfloat16() if t.ndim > 2 else t for t in draw(1, 9, 4, 5, 1)]
    g = torch.randn(inputs[0].shape).bfloat16()
    results = run(inputs, g, delta_softplus=True, backend=backend)
    assert [t.dtype for t in results[1:]] == [t.dtype for t in inputs]
    assert_close(results, truth(inputs, g, delta_softplus=True), 1e-2)


@pytest.mark.triton
@pytest.mark.parametrize(
    ("shape", "dtype", "softplus"),
    [((1, 3, 6, 5, 1), torch.float32, True), ((2, 2, 3, 6, 2), torch.float16, False), ((1,) * 5, torch.float32, True)],
)
def test_triton_kernels(monkeypatch, triton_device, shape, dtype, softplus):
    from linbench.kernels.selective_scan_2d import triton

    # Small enough for several tiles, blocks of segments and groups of channels on a small map.
    for name, size in (("TILE", 4), ("BLOCK", 4), ("CHANNELS_FOR_A_STATE", 2)):
        monkeypatch.setattr(triton, name, size)
    for name in ("empty_like", "empty"):
        real = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, real=real, **kwargs: real(*args, **kwargs).fill_(torch.nan))
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kwargs: new_empty(*args, **kwargs).fill_(torch.nan))
    inputs = [t.to(dtype) if t.ndim > 2 else t for t in draw(*shape)]
    if not softplus:
        inputs = [inputs[0], inputs[1].abs() / 8, *inputs[2:5]]
    g = torch.randn(inputs[0].shape).to(dtype)
    moved = [t.to(triton_device) for t in inputs]
    results = run(moved, g.to(triton_device), delta_softplus=softplus, backend="triton")
    expected = truth(inputs, g, delta_softplus=softplus)
    assert_close(results, expected, 2e-5 if dtype == torch.float32 else 2e-3)


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("states", [1, 16])
def test_triton_kernels_compile_without_spilling(compile_to_cubin, capability, states):
    kernels = pytest.importorskip("linbench.kernels.selective_scan_2d.triton_kernels")
    from linbench.kernels.selective_scan_2d import triton

    float32 = {"rates", "bias", "skip", "passed", "ends", "gradient_ends", "starts", "gradient_starts"}
    float32 |= {"gx", "gb", "gc", "sums"}
    numbers = {"batches", "channels", "height", "width", "segments", "row_segments", "column_segments", "group"}
    constants = {"STATES": states, "SOFTPLUS": True, "TILE": triton.TILE, "BLOCK": triton.BLOCK, "TURNED": True}
    for kernel, options, warps in (
        (kernels.summary_kernel, {"GRADIENTS": False}, 4),
        (kernels.summary_kernel, {"GRADIENTS": True}, 4),
        (kernels.carry_kernel, {}, 4),
        (kernels.scan_kernel, {}, triton.WARPS),
        (kernels.gradient_kernel, {"K": 0}, triton.WARPS),
        (kernels.gradient_kernel, {"K": 3}, triton.WARPS),
    ):
        known = {**constants, **options}
        fixed = {name: known[name] for name in kernel.arg_names if name in known}
        types = {
            name: "i32" if name in numbers else "*fp32" if name in float32 else "*bf16"
            for name in kernel.arg_names
            if name not in fixed
        }
        compiled = compile_to_cubin(
            kernel, types, fixed, capability, divisible=("height", "width", "segments"), num_warps=warps
        )
        assert not compiled.spilled, kernel


def block(*inputs):
    return selective_scan_2d(*inputs, delta_softplus=True).square()


def test_compiles_without_graph_breaks():
    inputs = [x.requires_grad_() for x in draw(2, 6, 3, 4, 2)]
    y = torch.compile(block, fullgraph=True, backend="aot_eager")(*inputs)
    expected = block(*inputs)
    torch.testing.assert_close(y, expected)
    grads = torch.autograd.grad(y.sum(), inputs)
    torch.testing.assert_close(grads, torch.autograd.grad(expected.sum(), inputs))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("neighbours", [True, False])
def test_registration_passes_opcheck(backend, neighbours):
    inputs = [x.requires_grad_() for x in draw(2, 6, 3, 4, 2, neighbours=neighbours)]
    torch.library.opcheck(selective_scan_2d_op, (*inputs, True, backend))
    torch.library.opcheck(selective_scan_2d_op, (*inputs[:5], None, None, False, backend))


def test_flops_follow_the_rule_of_the_field():
    register_flop_formulas()
    inputs = draw(2, 6, 3, 4, 2)
    with FlopCounterMode(display=False) as counter:
        selective_scan_2d(*inputs, delta_softplus=True)
    # Nine for each state and two for D, in each of four directions.
    assert counter.get_total_flops() == 2 * 4 * 6 * 12 * (9 * 2 + 2)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": torch.zeros(2, 12, 8)}, "x"),
        ({"x": torch.zeros(1, 3, 2, 2, dtype=torch.int64)}, "x"),
        ({"delta": torch.zeros(1, 12, 2, 2)}, "delta"),
        ({"A": torch.zeros(13, 1)}, "A"),
        ({"A": torch.full((12, 1), torch.nan)}, "A"),
        ({"A": torch.full((12, 1), -torch.inf)}, "A"),
        ({"A": torch.full((12, 1), torch.nan), "backend": "reference"}, "A"),
        ({"B": torch.zeros(1, 4, 2, 2, 2)}, "B"),
        ({"C": torch.zeros(1, 4, 1, 2, 3)}, "C"),
        ({"D": torch.zeros(3)}, "D"),
        ({"delta_bias": torch.zeros(4, 3)}, "delta_bias"),
        ({"delta_bias": torch.zeros(12, device="meta")}, "delta_bias"),
        ({"backend": "cuda"}, "backend"),
    ],
)
def test_bad_arguments_are_named(change, name):
    maps = {"delta": torch.zeros(1, 4, 3, 2, 2), "B": torch.zeros(1, 4, 1, 2, 2), "C": torch.zeros(1, 4, 1, 2, 2)}
    arguments = {"x": torch.zeros(1, 3, 2, 2), "A": torch.zeros(12, 1), **maps} | change
    with pytest.raises(UsageError, match=f"^{name}: "):
        selective_scan_2d(**arguments)


def test_a_forced_backend_that_cannot_serve_says_why():
    with pytest.raises(BackendError, match="float64"):
        selective_scan_2d(*draw(1, 2, 2, 2, 1, torch.float64), backend="cpu")
