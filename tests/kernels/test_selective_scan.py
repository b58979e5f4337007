import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import selective_scan
from linbench.kernels.memory import new_like
from linbench.kernels.selective_scan import chunked, cpu, cpu_rows
from linbench.kernels.selective_scan.cases import CASES
from linbench.kernels.selective_scan.op import selective_scan_forward

GOLDEN = Path(__file__).parents[3] / "shared" / "goldens" / "op_selective_scan"
STORED = json.loads((GOLDEN / "manifest.json").read_text())["cases"] if GOLDEN.exists() else []
NO_GOLDENS = [pytest.param("-", marks=pytest.mark.skip("no ../shared/goldens here"))]
FAST = ("cpu", "torch")
OPTIONAL = ("D", "z", "delta_bias")
INTERPRETED_SIZE = 20_000


def draw(batch, channels, tokens, states, groups, *, optional=OPTIONAL, softplus=True, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator, dtype=dtype)

    inputs = {
        "u": normal(batch, channels, tokens),
        "delta": normal(batch, channels, tokens),
        "A": -torch.exp(normal(channels, states)),
        "B": normal(batch, groups, states, tokens),
        "C": normal(batch, groups, states, tokens),
        "D": normal(channels),
        "z": normal(batch, channels, tokens),
        "delta_bias": normal(channels) - 1,
    }
    if not softplus:
        inputs["delta"] = 0.2 * inputs["delta"].abs()
        inputs["delta_bias"] = 0.1 * inputs["delta_bias"].abs()
    grads = normal(batch, channels, tokens), normal(batch, channels, states)
    return {name: x for name, x in inputs.items() if name not in OPTIONAL or name in optional}, grads


def run(inputs, grads, **options):
    """Output, last state and all gradients, by name."""
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    outputs = selective_scan(**leaves, return_last_state=True, **options)
    found = torch.autograd.grad(outputs, list(leaves.values()), [g.to(y) for g, y in zip(grads, outputs, strict=True)])
    named = zip(leaves, found, strict=True)
    return {"out": outputs[0].detach(), "last": outputs[1].detach()} | {f"g_{name}": x for name, x in named}


def truth(inputs, grads, **options):
    doubles = {name: x.double() for name, x in inputs.items()}
    return run(doubles, [g.double() for g in grads], **(options | {"backend": "reference"}))


def assert_close(got, right, tolerance):
    """Errors relative to the largest value; a tenth of the inputs' unit scale where the truth itself vanishes.

    (The gradient of `A` over one token is exactly zero, and is found as the difference of two states that are not.)
    """
    for name, expected in right.items():
        error = (got[name].double() - expected).abs().max()
        assert error <= tolerance * max(0.1, expected.abs().max()), f"{name}: {error:.2e} of {expected.abs().max():.2e}"


@pytest.mark.parametrize(
    ("backend", "dtype", "tolerance"),
    [
        ("reference", torch.float64, 3e-7),
        ("torch", torch.float64, 3e-7),
        ("torch", torch.float32, 3e-6),
        ("cpu", torch.float32, 3e-6),
        pytest.param("triton", torch.float32, 3e-6, marks=pytest.mark.triton),
    ],
)
@pytest.mark.parametrize("case", STORED or NO_GOLDENS, ids=lambda case: case if case == "-" else case["id"])
def test_goldens_of_the_original_code(case, backend, dtype, tolerance, device_of):
    device = device_of(backend)
    recipe, stored = case["inputs"], np.load(GOLDEN / f"case{case['id']}.npz")
    rng = np.random.RandomState(recipe["seed"])
    batch, channels, tokens, states = (recipe[letter] for letter in "BDLN")
    if channels * tokens * states > INTERPRETED_SIZE and backend == "triton" and device == "cpu":
        pytest.skip("too long for Triton's interpreter")

    def normal(*sizes):
        return rng.standard_normal(sizes).astype(np.float32)

    shared = (batch, recipe["G"] or 1, states, tokens)
    arrays = {"u": normal(batch, channels, tokens)}
    delta = normal(batch, channels, tokens)
    arrays["delta"] = delta * np.float32(0.5) if recipe["softplus"] else np.abs(delta) * np.float32(0.1)
    arrays["A"] = -np.exp(np.float32(0.5) * normal(channels, states))
    arrays["B"], arrays["C"] = normal(*shared), normal(*shared)
    if recipe["has_D"]:
        arrays["D"] = normal(channels)
    if recipe["has_z"]:
        arrays["z"] = normal(batch, channels, tokens)
    if recipe["has_bias"]:
        arrays["delta_bias"] = -1 + np.float32(0.5) * normal(channels)
    inputs = {name: torch.tensor(array).to(device, dtype) for name, array in arrays.items()}
    g = torch.tensor(normal(batch, channels, tokens)).to(device, dtype)
    grads = g, torch.zeros(batch, channels, states, dtype=dtype, device=device)
    got = run(inputs, grads, delta_softplus=bool(recipe["softplus"]), backend=backend)
    got["last_state"] = got.pop("last")
    for name, facts in case["outputs"].items():
        value = got[name].double().cpu().numpy().ravel()[:: facts["stride"]]
        assert np.abs(value - stored[name]).max() <= tolerance * max(1.0, facts["absmax"]), name


@pytest.mark.skipif(not STORED, reason="no ../shared/goldens here")
def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize(
    ("groups", "reverse", "softplus", "optional"),
    [(1, False, True, OPTIONAL), (2, (True, False), False, ("D",)), (1, (False, True), True, ("z",))],
)
def test_gradients_by_finite_differences(backend, groups, reverse, softplus, optional):
    inputs, _ = draw(2, 4, 5, 3, groups, optional=optional, softplus=softplus, dtype=torch.float64)
    names = list(inputs)

    def call(*tensors):
        options = {"delta_softplus": softplus, "reverse": reverse, "return_last_state": True, "backend": backend}
        return selective_scan(**dict(zip(names, tensors, strict=True)), **options)

    assert torch.autograd.gradcheck(call, [x.requires_grad_() for x in inputs.values()])


def test_the_reference_is_the_recurrence():
    inputs, _ = draw(1, 2, 6, 3, 1, dtype=torch.float64)
    u, delta, A, B, C, D, z, bias = (inputs[name] for name in ("u", "delta", "A", "B", "C", "D", "z", "delta_bias"))
    h = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(6):
        step = torch.log1p(torch.exp(delta[0, :, t] + bias))
        h = torch.exp(step[:, None] * A) * h + step[:, None] * B[0, :, :, t] * u[0, :, t, None]
        y = (h * C[0, :, :, t]).sum(1) + D * u[0, :, t]
        out, last = selective_scan(**inputs, delta_softplus=True, return_last_state=True, backend="reference")
        torch.testing.assert_close(out[0, :, t], y * z[0, :, t] * torch.sigmoid(z[0, :, t]))
    torch.testing.assert_close(last[0], h)


@st.composite
def shapes(draw_):
    groups = draw_(st.sampled_from([1, 2, 3]))
    flags = draw_(st.lists(st.booleans(), min_size=1, max_size=4))
    channels = draw_(st.sampled_from([1, 2, 5, 11, 35])) * math.lcm(groups, len(flags))
    states = draw_(st.sampled_from([1, 1, 2, 3, 16]))
    tokens = draw_(st.one_of(st.integers(1, 9), st.sampled_from([31, 32, 33, 63, 65, 129, 255, 257, 520])))
    return draw_(st.integers(1, 2)), channels, tokens, states, groups, flags


@settings(max_examples=25, deadline=None)
@given(
    shape=shapes(),
    optional=st.sets(st.sampled_from(OPTIONAL)),
    softplus=st.booleans(),
    time_major=st.booleans(),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("backend", FAST)
def test_fast_backends_match_the_reference(backend, shape, optional, softplus, time_major, seed):
    *sizes, reverse = shape
    inputs, grads = draw(*sizes, optional=optional, softplus=softplus, seed=seed)
    options = {"delta_softplus": softplus, "reverse": reverse}
    right = truth(inputs, grads, **options)
    if time_major:
        for name in {"u", "delta", "z"} & set(inputs):
            inputs[name] = inputs[name].transpose(1, 2).contiguous().transpose(1, 2)
    got = run(inputs, grads, backend=backend, **options)
    assert got["out"].stride() == new_like(inputs["u"]).stride()
    assert_close(got, right, 3e-5)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("states", [1, 4])
def test_chunk_boundaries_do_not_show(backend, states, monkeypatch):
    inputs, grads = draw(1, 40, 300, states, 1)
    expected = run(inputs, grads, delta_softplus=True, reverse=(False, True), backend=backend)
    monkeypatch.setattr(cpu, "chunk_length", lambda _: 48)
    monkeypatch.setattr(cpu, "_read_at_once", lambda *_: (96, 96))
    monkeypatch.setattr(cpu, "_SPAN_BACK", 144)
    monkeypatch.setattr(chunked, "CHUNK", 7)
    monkeypatch.setattr(chunked, "pieces", lambda *_: 5)
    assert_close(run(inputs, grads, delta_softplus=True, reverse=(False, True), backend=backend), expected, 1e-6)


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("states", [1, 5])
def test_reversing_is_flipping_before_and_after(backend, states):
    inputs, _ = draw(2, 6, 71, states, 2)
    flipped = {name: x.flip(-1) if x.shape[-1] == 71 else x for name, x in inputs.items()}
    options = {"delta_softplus": True, "return_last_state": True, "backend": backend}
    out, last = selective_scan(**inputs, reverse=True, **options)
    right, right_last = selective_scan(**flipped, **options)
    torch.testing.assert_close(out, right.flip(-1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last, right_last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", FAST)
def test_k_directions_are_k_calls(backend):
    inputs, _ = draw(1, 24, 70, 3, 4)
    flags = (False, True, True, False)
    whole = selective_scan(**inputs, delta_softplus=True, reverse=flags, backend=backend)
    for k, flag in enumerate(flags):
        part = slice(6 * k, 6 * k + 6)
        share = {n: x[:, part] for n, x in inputs.items() if n in ("u", "delta", "z")}
        share |= {n: x[:, k : k + 1] for n, x in inputs.items() if n in ("B", "C")}
        share |= {n: x[part] for n, x in inputs.items() if n in ("A", "D", "delta_bias")}
        alone = selective_scan(**share, delta_softplus=True, reverse=flag, backend=backend)
        torch.testing.assert_close(whole[:, part], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("states", [1, 16])
def test_strong_decay_and_growth_stay_exact(backend, states):
    inputs, grads = draw(1, 3, 400, states, 1, optional=())
    inputs["A"] = -torch.logspace(-3, 3, 3 * states).view(3, states)
    inputs["delta"] = inputs["delta"].abs() * 3
    assert_close(run(inputs, grads, backend=backend), truth(inputs, grads), 3e-5)
    inputs["A"] = 0.02 * torch.ones(3, states)
    assert_close(run(inputs, grads, backend=backend), truth(inputs, grads), 3e-4)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("states", [1, 4])
def test_a_nan_is_not_swallowed(backend, states):
    inputs, _ = draw(1, 33, 50, states, 1)
    inputs["delta"][0, 3, 20] = torch.nan
    out = selective_scan(**inputs, delta_softplus=True, backend=backend)
    assert out[0, 3, 20:].isnan().all()
    assert out[0, 3, :20].isfinite().all()
    assert out[0, [*range(3), *range(4, 33)]].isfinite().all()


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("time_major", [False, True])
def test_every_output_is_written(monkeypatch, states, time_major):
    inputs, grads = draw(2, 36, 300, states, 2)
    if time_major:
        for name in ("u", "delta", "z"):
            inputs[name] = inputs[name].transpose(1, 2).contiguous().transpose(1, 2)
    options = {"delta_softplus": True, "reverse": (True, False), "backend": "cpu"}
    expected = run(inputs, grads, **options)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    got = run(inputs, grads, **options)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_results_do_not_depend_on_the_number_of_threads():
    inputs, grads = draw(1, 300, 90, 4, 1)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(run(inputs, grads, delta_softplus=True, backend="cpu"))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_storage_is_rounded_once(backend, dtype):
    inputs, grads = draw(1, 8, 60, 4, 1)
    short = {name: x if name in ("A", "D", "delta_bias") else x.to(dtype) for name, x in inputs.items()}
    got = run(short, grads, delta_softplus=True, backend=backend)
    assert got["out"].dtype == got["g_u"].dtype == got["g_B"].dtype == dtype
    assert got["last"].dtype == got["g_A"].dtype == torch.float32
    rounded = (grads[0].to(dtype), grads[1])
    assert_close(got, truth(short, rounded, delta_softplus=True), 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"u": torch.zeros(4, 6)}, "u"),
        ({"u": torch.zeros(2, 4, 0)}, "u"),
        ({"delta": torch.zeros(2, 4, 5)}, "delta"),
        ({"A": torch.zeros(3, 3)}, "A"),
        ({"A": torch.full((4, 3), torch.nan)}, "A"),
        ({"A": torch.full((4, 3), -torch.inf)}, "A"),
        ({"A": torch.zeros(4, 3, dtype=torch.int64)}, "A"),
        ({"B": torch.zeros(2, 3, 6)}, "B"),
        ({"B": torch.zeros(2, 3, 3, 6)}, "B"),
        ({"C": torch.zeros(2, 1, 3, 6)}, "C"),
        ({"D": torch.zeros(3)}, "D"),
        ({"z": torch.zeros(2, 4, 7)}, "z"),
        ({"delta_bias": torch.zeros(4, 1)}, "delta_bias"),
        ({"D": torch.zeros(4, device="meta")}, "D"),
        ({"reverse": (True, False, True)}, "reverse"),
        ({"reverse": ()}, "reverse"),
        ({"backend": "cuda"}, "backend"),
    ],
)
def test_bad_arguments_are_named(change, name):
    inputs, _ = draw(2, 4, 6, 3, 2)
    with pytest.raises(UsageError, match=f"^{name}: .*(expected|has)"):
        selective_scan(**(inputs | change))


def test_forced_backends_that_cannot_serve_say_why():
    inputs, _ = draw(1, 2, 3, 1, 1)
    with pytest.raises(BackendError, match="float64"):
        selective_scan(**(inputs | {"u": inputs["u"].double()}), backend="cpu")
    with pytest.raises(BackendError, match=r"mamba.*cuda"):
        selective_scan(**inputs, backend="mamba")


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("time_major", [False, True])
def test_registration_passes_opcheck(backend, time_major):
    inputs, _ = draw(2, 8, 37, 3, 2)
    if time_major:
        inputs["u"] = inputs["u"].transpose(1, 2).contiguous().transpose(1, 2)
    tensors = [x.requires_grad_() for x in inputs.values()]
    torch.library.opcheck(selective_scan_forward, (*tensors, True, [False, True], backend, True))
    bare = [*tensors[:5], None, None, None]
    torch.library.opcheck(selective_scan_forward, (*bare, False, [True], backend, True))


def test_compiles_without_graph_breaks():
    inputs, (g, _) = draw(1, 8, 40, 2, 1)
    leaves = [x.requires_grad_() for x in inputs.values()]

    def block(*tensors):
        named = dict(zip(inputs, tensors, strict=True))
        return 2 * selective_scan(**named, delta_softplus=True, reverse=(True, False))

    expected = block(*leaves)
    y = torch.compile(block, fullgraph=True, backend="aot_eager")(*leaves)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad(y, leaves, g), torch.autograd.grad(expected, leaves, g))


def test_rows_serve_one_state_and_tiles_any():
    assert cpu_rows.ROWS == 8
    inputs, grads = draw(1, 13, 270, 1, 1)
    by_rows = run(inputs, grads, delta_softplus=True, backend="cpu")
    for name in ("u", "delta", "z"):
        inputs[name] = inputs[name].transpose(1, 2).contiguous().transpose(1, 2)
    assert_close(run(inputs, grads, delta_softplus=True, backend="cpu"), by_rows, 1e-6)


def test_work_is_counted_by_hand():
    case = next(case for case in CASES if case.name == "edge")
    shape = {"B": 1, "D": 2, "L": 3, "N": 2, "G": 1}
    forward, backward = case.forward(shape, 4), case.backward(shape, 4)
    # 6 elements of 2 states, 9 operations each; 2 for D, 2 for the gate.
    assert forward.flops == 6 * (9 * 2 + 4)
    # u, delta, z and the output; B and C; A, D and the bias.
    assert forward.bytes == 4 * (4 * 6 + 2 * 6 + 4 + 2 + 2)
    # Two decays, two functions in the softplus, one in the gate.
    assert forward.exps == 6 * 5
    assert backward.flops == 6 * (23 * 2 + 10)
    # u, delta, z, the output's gradient in, three out; B and C in and out; A, D and the bias in and out.
    assert backward.bytes == 4 * (7 * 6 + 4 * 6) + 8 * 8
    assert backward.exps == 6 * 5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_run(case):
    small = {"L": 7, "D": 16} if case.shape["D"] > 32 else {}
    shape = {**case.shape, **small}
    tensors = case.inputs(shape, torch.Generator().manual_seed(0))
    expected = case.call({name: x.double() for name, x in tensors.items()}, "reference")
    torch.testing.assert_close(case.call(tensors, "cpu").double(), expected, rtol=1e-5, atol=1e-5)
