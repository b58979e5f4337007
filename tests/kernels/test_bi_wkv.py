import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import bi_wkv
from linbench.kernels.bi_wkv import chunked, cpu, reference
from linbench.kernels.bi_wkv.op import bi_wkv_forward

GOLDEN = Path(__file__).parents[3] / "shared" / "goldens" / "op_bi_wkv"
CASES = (
    {case["id"]: case for case in json.loads((GOLDEN / "manifest.json").read_text())["cases"]}
    if GOLDEN.exists()
    else {}
)
NAMES = ("gw", "gu", "gk", "gv")
INTERPRETED_TOKENS = 200


def draw(batch, tokens, channels, *, w_std=1.0, k_std=1.0, seed=0, dtype=torch.float32):
    """decay, bonus, k, v and an output gradient; w of the given spread over the whole image."""
    generator = torch.Generator().manual_seed(seed)
    w, u = torch.randn(2, channels, generator=generator, dtype=dtype)
    k, v, g = torch.randn(3, batch, tokens, channels, generator=generator, dtype=dtype)
    return (w * w_std / tokens, u, k * k_std, v), g


def run(inputs, g, **options):
    """Output and gradients; a fifth input is the gate."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    y = bi_wkv(*leaves[:4], gate=leaves[4] if len(leaves) > 4 else None, **options)
    return y.detach(), *torch.autograd.grad(y, leaves, g.to(y.dtype))


def truth(inputs, g):
    """Output and gradients of the equation in float64, without the operator's own plumbing."""
    doubles = [tensor.double() for tensor in inputs]
    return reference.forward(*doubles), *reference.backward(*doubles, g.double())


def assert_close(got, expected, tolerance):
    tokens = got[0].shape[1]
    for name, value, right in zip(("y", *NAMES), got, expected, strict=True):
        error = (value.double() - right).abs().max()
        # Terms of the decay's gradient are weighted by distances of up to T, and cancel.
        floor = 1e-5 * tokens if name == "gw" else 1e-6
        assert error <= tolerance * right.abs().max() + floor, f"{name}: {error:.2e} of {right.abs().max():.2e}"


@pytest.mark.parametrize(
    ("backend", "convention", "dtype", "tolerance"),
    [
        ("reference", "paper", torch.float64, 2e-7),
        ("torch", "paper", torch.float64, 2e-7),
        ("torch", "paper", torch.float32, 1e-5),
        ("cpu", "paper", torch.float32, 1e-5),
        ("reference", "cuda", torch.float64, 2e-7),
        pytest.param("triton", "paper", torch.float32, 1e-5, marks=pytest.mark.triton),
    ],
)
@pytest.mark.parametrize("case_id", CASES or [pytest.param("-", marks=pytest.mark.skip("no ../shared/goldens here"))])
def test_goldens_of_the_original_code(case_id, backend, convention, dtype, tolerance, device_of):
    case, stored = CASES[case_id], np.load(GOLDEN / f"case{case_id}.npz")
    recipe, rng = case["inputs"], np.random.RandomState(case["inputs"]["seed"])
    device = device_of(backend)
    if recipe["T"] > INTERPRETED_TOKENS and backend == "triton" and device == "cpu":
        pytest.skip("too long for Triton's interpreter")
    w = rng.standard_normal(recipe["C"]) * recipe["w_std"] + recipe["w_mean"]
    u = rng.standard_normal(recipe["C"]) * recipe["u_std"] + recipe["u_mean"]
    shape = (recipe["B"], recipe["T"], recipe["C"])
    k, v, g = rng.standard_normal(shape) * recipe["k_std"], rng.standard_normal(shape), rng.standard_normal(shape)
    *inputs, g = (torch.tensor(x.astype(np.float32)).to(device, dtype) for x in (w, u, k, v, g))
    results = run(inputs, g, backend=backend, convention=convention)
    suffix = "formula" if convention == "paper" else "kernel"
    for name, result in zip(("y", *NAMES), results, strict=True):
        right = stored[f"{name}_{suffix}"]
        got = result.double().cpu().numpy().ravel()[:: case["outputs"][f"{name}_{suffix}"]["stride"]]
        assert np.abs(got - right).max() <= tolerance * max(np.abs(right).max(), 0.1), name


@pytest.mark.skipif(not CASES, reason="no ../shared/goldens here")
def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("tokens", [1, 2, 5, 7])
def test_gradients_by_finite_differences(backend, tokens):
    inputs, _ = draw(2, tokens, 3, w_std=3, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(lambda *args: bi_wkv(*args, backend=backend), leaves)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    tokens=st.one_of(st.integers(1, 12), st.sampled_from([31, 32, 33, 63, 64, 65, 97, 196])),
    channels=st.sampled_from([1, 3, 16, 17, 33]),
    w_std=st.sampled_from([0.0, 1.0, 5.0, 50.0]),
    k_std=st.sampled_from([0.1, 1.0, 4.0]),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_fast_backends_match_the_reference(backend, batch, tokens, channels, w_std, k_std, seed):
    inputs, g = draw(batch, tokens, channels, w_std=w_std, k_std=k_std, seed=seed)
    assert_close(run(inputs, g, backend=backend), truth(inputs, g), 4e-5)


@pytest.mark.parametrize("backend", [cpu, chunked], ids=["cpu", "torch"])
@pytest.mark.parametrize(("tokens", "k_std"), [(4096, 1), (16384, 4), (1000, 20)])
@pytest.mark.parametrize("w", [5, 200])
def test_float32_keeps_to_1e_5_over_long_sequences(backend, tokens, k_std, w):
    (_, u, k, v), _ = draw(1, tokens, 8, k_std=k_std)
    decay = torch.linspace(-w, w, 8) / tokens
    exact, _ = chunked.forward(*(tensor.double() for tensor in (decay, u, k, v)))
    y = backend.forward(decay, u, k, v, **({"save": False} if backend is cpu else {}))[0]
    assert (y - exact).abs().max() / exact.abs().max() < 1e-5


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("tokens", [1, 2, 33, 300])
@pytest.mark.parametrize("w_std", [1, 200])
def test_extreme_keys_stay_finite(backend, tokens, w_std):
    inputs, g = draw(1, tokens, 16, w_std=w_std, k_std=20)
    outlier = inputs[2].clone()
    outlier[:, tokens // 2] += 500
    lonely = (inputs[0], inputs[1] - 300, outlier, inputs[3])
    for case in (inputs, (*inputs[:2], outlier, inputs[3]), lonely):
        results = run(case, g, backend=backend)
        assert all(result.isfinite().all() for result in results)
        exact = reference.forward(*case)
        assert (results[0] - exact).abs().max() <= 3e-5 * exact.abs().max()


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_reversing_the_tokens_reverses_the_output(backend):
    (decay, bonus, k, v), _ = draw(2, 71, 5, w_std=4)
    forwards = bi_wkv(decay, bonus, k, v, backend=backend)
    backwards = bi_wkv(decay, bonus, k.flip(1), v.flip(1), backend=backend)
    torch.testing.assert_close(backwards.flip(1), forwards, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_a_nan_key_is_not_swallowed(backend):
    (decay, bonus, k, v), _ = draw(1, 80, 4)
    k[0, 40, 2] = torch.nan
    y = bi_wkv(decay, bonus, k, v, backend=backend)
    assert y[..., 2].isnan().all()
    assert y[..., [0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_keys_of_minus_infinity_leave_tokens_out(backend):
    (decay, bonus, k, v), g = draw(1, 70, 3)
    k[:, :3], k[:, 20:60], k[:, -1] = (-torch.inf for _ in range(3))
    assert_close(run((decay, bonus, k, v), g, backend=backend), truth((decay, bonus, k, v), g), 1e-5)


def test_every_output_is_written(monkeypatch):
    inputs, g = draw(2, 75, 20)

    def compute():
        out, y, logsum = cpu.forward(*inputs, gate=g, save=True)
        before_gate, ggate = cpu.gate_gradients(g, y, g)
        return out, y, logsum, before_gate, ggate, *cpu.backward(*inputs, y, logsum, before_gate)

    expected = compute()
    empty, empty_like, np_empty = torch.empty, torch.empty_like, np.empty
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    monkeypatch.setattr(torch, "empty_like", lambda *args, **kwargs: empty_like(*args, **kwargs).fill_(torch.nan))
    monkeypatch.setattr(cpu.np, "empty", lambda *args: np.full_like(np_empty(*args), np.nan))
    assert all(map(torch.equal, compute(), expected))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_the_result(threads):
    inputs, g = draw(2, 300, 20)
    before = torch.get_num_threads()
    expected = run(inputs, g, backend="cpu")
    try:
        torch.set_num_threads(threads)
        assert all(map(torch.equal, run(inputs, g, backend="cpu"), expected))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_half_storage_has_float32_state(dtype, backend):
    (decay, bonus, k, v), g = draw(1, 200, 8, w_std=5)
    inputs = (decay, bonus, k.to(dtype), v.to(dtype))
    results = run(inputs, g, backend=backend)
    assert [result.dtype for result in results] == [dtype, torch.float32, torch.float32, dtype, dtype]
    step = torch.finfo(dtype).eps
    exact = reference.forward(*inputs)
    assert (results[0] - exact).abs().max() <= step * exact.abs().max()


def test_auto_names_what_it_uses_by_dtype():
    inputs, g = draw(1, 9, 4, dtype=torch.float64)
    assert_close(run(inputs, g), truth(inputs, g), 1e-12)
    with pytest.raises(BackendError, match=r"cpu.*float64.*auto"):
        bi_wkv(*inputs, backend="cpu")
    with pytest.raises(BackendError, match="convention='cuda'"):
        bi_wkv(*inputs, backend="torch", convention="cuda")


@pytest.mark.parametrize(
    ("backend", "convention"), [("cpu", "paper"), ("torch", "paper"), ("reference", "paper"), ("reference", "cuda")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gate_is_what_it_says_with_gradients(backend, convention, dtype):
    inputs, g = draw(2, 70, 20, w_std=3)
    gate = 3 * torch.randn(2, 70, 20)
    inputs = (*inputs[:2], *(x.to(dtype) for x in (*inputs[2:], gate)))
    got = run(inputs, g, backend=backend, convention=convention)
    exact = [x.double().requires_grad_() for x in inputs]
    y = bi_wkv(*exact[:4], convention=convention, backend="reference") * torch.sigmoid(exact[4])
    grads = torch.autograd.grad(y, exact, g.double())
    step = max(1e-5, 2 * torch.finfo(dtype).eps)
    for value, right, leaf in zip(got, (y.detach(), *grads), (inputs[3], *inputs), strict=True):
        assert value.dtype == leaf.dtype
        assert (value - right).abs().max() <= step * right.abs().max()
    with torch.no_grad():
        free = bi_wkv(*inputs[:4], gate=inputs[4], backend=backend, convention=convention)
    assert torch.equal(free, got[0])


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_strided_inputs_give_contiguous_outputs(backend):
    inputs, g = draw(2, 40, 6)
    decay, bonus, k, v = inputs
    strided = (
        decay.repeat_interleave(2)[::2],
        bonus,
        k.transpose(1, 2).contiguous().transpose(1, 2),
        torch.stack((v, v), -1)[..., 0],
    )
    results = run(strided, g.transpose(0, 1).contiguous().transpose(0, 1), backend=backend)
    assert results[0].is_contiguous()
    assert_close(results, truth(inputs, g), 1e-5)


def test_cuda_convention_nears_the_equation_as_tokens_grow():
    gaps = []
    for tokens in (49, 196, 1024):
        (_, bonus, k, v), _ = draw(1, tokens, 8)
        decay = torch.linspace(-5, 3, 8) / tokens
        paper, kernel = (bi_wkv(decay, bonus / tokens, k, v, convention=name) for name in ("paper", "cuda"))
        gaps.append((paper - kernel).abs().max().item())
    assert gaps[0] > 2e-3 > gaps[1] > 1e-4 > gaps[2] > 1e-6


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"decay": torch.zeros(5)}, "decay"),
        ({"bonus": torch.zeros(1, 4)}, "bonus"),
        ({"k": torch.zeros(1, 8, 4)}, "k"),
        ({"v": torch.zeros(9, 4)}, "v"),
        ({"k": torch.zeros(1, 0, 4), "v": torch.zeros(1, 0, 4)}, "v"),
        ({"k": torch.zeros(1, 9, 0), "v": torch.zeros(1, 9, 0)}, "v"),
        ({"k": torch.zeros(1, 9, 4, dtype=torch.int32)}, "k"),
        ({"decay": torch.zeros(4, device="meta")}, "decay"),
        ({"gate": torch.zeros(1, 9, 5)}, "gate"),
        ({"convention": "official"}, "convention"),
        ({"backend": "fastest"}, "backend"),
    ],
)
def test_bad_arguments_are_named(change, name):
    decay, bonus, k, v = draw(1, 9, 4)[0]
    arguments = {"decay": decay, "bonus": bonus, "k": k, "v": v} | change
    with pytest.raises(UsageError, match=f"^{name}: "):
        bi_wkv(**arguments)


@pytest.mark.parametrize(
    ("backend", "convention"), [("cpu", "paper"), ("torch", "paper"), ("reference", "paper"), ("reference", "cuda")]
)
@pytest.mark.parametrize("gated", [False, True])
def test_registration_passes_opcheck(backend, convention, gated):
    inputs, gate = draw(2, 9, 4)
    gate = gate if gated else None
    torch.library.opcheck(bi_wkv_forward, (*(x.requires_grad_() for x in inputs), gate, convention, backend, True))
    torch.library.opcheck(bi_wkv_forward, (*(x.detach() for x in inputs), gate, convention, backend, False))


def test_autocast_keeps_the_dtype_of_v():
    (decay, bonus, k, v), _ = draw(1, 16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bi_wkv(decay, bonus, k.bfloat16(), v.bfloat16()).dtype == torch.bfloat16
        assert bi_wkv(decay, bonus, k, v).dtype == torch.float32
