import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import BackendError, UsageError
from linbench.kernels import q_shift, q_shift_mix
from linbench.kernels.q_shift import cpu
from linbench.kernels.q_shift.layout import Grid, channel_groups
from linbench.kernels.q_shift.op import q_shift_mix_op, q_shift_op

GOLDEN = Path(__file__).parents[3] / "shared" / "goldens" / "op_q_shift"
CASES = json.loads((GOLDEN / "manifest.json").read_text())["cases"] if GOLDEN.exists() else []
BACKENDS = ("cpu", "torch", "reference")
TRITON = pytest.param("triton", marks=pytest.mark.triton)


def slow_shift(x, grid, shift, gamma, class_token=None):
    """Token by token, channel by channel, as the docstring says it."""
    if class_token:
        single, rest = (x[:, :1], x[:, 1:]) if class_token == "first" else (x[:, -1:], x[:, :-1])
        moved = slow_shift(rest, grid, shift, gamma)
        return torch.cat((single, moved) if class_token == "first" else (moved, single), dim=1)
    height, width = grid
    out = torch.zeros_like(x)
    cuts = [int(x.shape[2] * gamma * part) for part in range(5)]
    for y in range(height):
        for column in range(width):
            for c in range(x.shape[2]):
                group = sum(c >= cut for cut in cuts) - 1
                dy, dx = ((0, -shift), (0, shift), (-shift, 0), (shift, 0), (0, 0))[group]
                if 0 <= y + dy < height and 0 <= column + dx < width:
                    out[:, y * width + column, c] = x[:, (y + dy) * width + column + dx, c]
    return out


@pytest.mark.parametrize("backend", [*BACKENDS, TRITON])
@pytest.mark.parametrize("case", CASES or [pytest.param("-", marks=pytest.mark.skip("no ../shared/goldens here"))])
def test_goldens_of_the_original_code(case, backend, device_of):
    recipe, stored = case["inputs"], np.load(GOLDEN / f"case{case['id']}.npz")
    batch, channels, height, width = (recipe[name] for name in ("B", "C", "H", "W"))
    x = torch.arange(1, batch * channels * height * width + 1).float().reshape(batch, height * width, channels)
    x = x.to(device_of(backend))
    for name, shift in (("q_shift", 1), ("q_shift2", 2)):
        if name in stored:
            got = q_shift(x, (height, width), shift=shift, backend=backend)
            assert np.array_equal(got.cpu().numpy().ravel()[:: case["outputs"][name]["stride"]], stored[name])


@pytest.mark.skipif(not CASES, reason="no ../shared/goldens here")
def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 2),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.integers(1, 40),
    rows=st.integers(1, 3),
    shift=st.integers(0, 3),
    gamma=st.sampled_from([0.25, 0.2, 0.1, 0.0]),
    class_token=st.sampled_from([None, "first", "last"]),
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_match_the_definition_forward_and_backward(
    backend, batch, height, width, channels, rows, shift, gamma, class_token
):
    tokens = height * width + (class_token is not None)
    x, mix = torch.randn(batch, tokens, channels), 2 * torch.rand(rows, channels) - 0.5
    grads = torch.randn(rows, *x.shape)
    exact_x, exact_mix = x.double().requires_grad_(), mix.double().requires_grad_()
    neighbour = slow_shift(exact_x, (height, width), shift, gamma, class_token)
    exact = [row * exact_x + (1 - row) * neighbour for row in exact_mix]
    torch.autograd.backward(exact, list(grads.double()))

    options = {"shift": shift, "gamma": gamma, "class_token": class_token, "backend": backend}
    assert torch.equal(q_shift(x, (height, width), **options).double(), neighbour)
    x.requires_grad_()
    mix.requires_grad_()
    outputs = q_shift_mix(x, mix, (height, width), **options)
    torch.autograd.backward(outputs, list(grads))
    assert all(output.is_contiguous() for output in outputs)
    pairs = [*zip(outputs, exact, strict=True), (x.grad, exact_x.grad), (mix.grad, exact_mix.grad)]
    for got, right in pairs:
        torch.testing.assert_close(got.double(), right, rtol=1e-5, atol=2e-5)


def test_gradients_by_finite_differences():
    x = torch.randn(2, 6, 9, dtype=torch.float64, requires_grad=True)
    mix = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, mix: q_shift_mix(x, mix, (2, 3)), (x, mix))
    assert torch.autograd.gradcheck(lambda x: q_shift(x, (2, 3)), (x,))
    assert torch.autograd.gradcheck(lambda x: q_shift(x, (1, 5), class_token="last"), (x,))


@pytest.mark.parametrize("backend", BACKENDS)
def test_unused_outputs_and_strided_inputs(backend):
    x = torch.randn(2, 12, 8).transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    mix = torch.rand(8, 3).T.requires_grad_()
    q_shift_mix(x, mix, (3, 4), backend=backend)[1].sum().backward()
    assert not mix.grad[[0, 2]].any()
    assert mix.grad[1].any()
    expected = torch.autograd.grad(sum((mix[1] * x + (1 - mix[1]) * q_shift(x, (3, 4))).flatten()), x)[0]
    torch.testing.assert_close(x.grad, expected)


def test_every_output_is_written(monkeypatch):
    x, mix, grads = torch.randn(2, 70, 21), torch.rand(2, 21), list(torch.randn(2, 2, 70, 21))
    groups = channel_groups(21, 1, 0.2)

    def compute():
        grid = Grid(23, 3, 1, 70)
        return *cpu.mix_forward(x, mix, grid, groups), *cpu.mix_backward(x, mix, grads, grid, groups)

    expected = compute()
    empty, empty_like = torch.empty, torch.empty_like
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: empty(*args, **kwargs).fill_(torch.nan))
    monkeypatch.setattr(torch, "empty_like", lambda *args, **kwargs: empty_like(*args, **kwargs).fill_(torch.nan))
    assert all(map(torch.equal, compute(), expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_storage(backend):
    x, mix = torch.randn(1, 12, 8).bfloat16(), torch.rand(2, 8)
    outputs = q_shift_mix(x, mix, (3, 4), backend=backend)
    exact = q_shift_mix(x.double(), mix.double(), (3, 4))
    assert [output.dtype for output in outputs] == [torch.bfloat16] * 2
    torch.testing.assert_close(torch.stack(outputs).double(), torch.stack(exact), rtol=4e-3, atol=4e-3)
    assert torch.equal(q_shift(x, (3, 4), backend=backend).double(), q_shift(x.double(), (3, 4)))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": torch.zeros(12, 8)}, "x"),
        ({"x": torch.zeros(1, 12, 8, dtype=torch.int64)}, "x"),
        ({"grid": (3, 5)}, "grid"),
        ({"grid": (-3, -4)}, "grid"),
        ({"class_token": "first"}, "grid"),
        ({"class_token": True}, "class_token"),
        ({"shift": -1}, "shift"),
        ({"gamma": 0.3}, "gamma"),
        ({"mix": torch.zeros(8)}, "mix"),
        ({"mix": torch.zeros(2, 7)}, "mix"),
        ({"mix": torch.zeros(2, 8, device="meta")}, "mix"),
        ({"backend": "warp"}, "backend"),
    ],
)
def test_bad_arguments_are_named(change, name):
    arguments = {"x": torch.zeros(1, 12, 8), "mix": torch.zeros(2, 8), "grid": (3, 4)} | change
    with pytest.raises(UsageError, match=f"^{name}: "):
        q_shift_mix(**arguments)


def test_a_forced_backend_that_cannot_serve_says_why():
    with pytest.raises(BackendError, match="float64"):
        q_shift(torch.zeros(1, 12, 8, dtype=torch.float64), (3, 4), backend="cpu")


@pytest.mark.parametrize("backend", BACKENDS)
def test_registration_passes_opcheck(backend):
    x, mix = torch.randn(2, 12, 8, requires_grad=True), torch.rand(3, 8, requires_grad=True)
    torch.library.opcheck(q_shift_mix_op, (x, mix, 3, 4, 0, 1, 0.25, backend))
    torch.library.opcheck(q_shift_op, (x, 3, 4, 0, 1, 0.25, False, backend))
