"""Dilated, sliding-window, windowed and Taylor attention."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import UsageError
from linbench.kernels import (
    dilated_attention,
    sliding_window_attention,
    taylor_linear_attention,
    window_attention,
)
from linbench.kernels.flops import register_flop_formulas
from linbench.kernels.taylor_attention import reference, taylor_features
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens"
COUNTS = st.tuples(st.integers(1, 2), st.integers(1, 4))


def draw(batch, heads, tokens, width=4, value_width=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(tokens)
    q, k = torch.randn(2, batch, heads, tokens, width, generator=generator, dtype=torch.float64)
    v = torch.randn(batch, heads, tokens, value_width, generator=generator, dtype=torch.float64)
    return [x.to(dtype).requires_grad_() for x in (q, k, v)]


def assert_same(function, backend="sdpa", shape=(1, 2, 5), **options):
    """Output and gradients of a backend are those of the reference."""
    inputs = draw(*shape)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    right = function(*exact, backend="reference", **options)
    got = function(*inputs, backend=backend, **options)
    g = torch.randn_like(right)
    torch.testing.assert_close(got.double(), right, rtol=1e-4, atol=1e-5)
    grads = torch.autograd.grad(got, inputs, g.float(), allow_unused=True, materialize_grads=True)
    rights = torch.autograd.grad(right, exact, g, allow_unused=True, materialize_grads=True)
    for grad, expected in zip(grads, rights, strict=True):
        torch.testing.assert_close(grad.double(), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    counts=COUNTS,
    tokens=st.integers(1, 40),
    branches=st.lists(
        st.integers(1, 50).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w))), min_size=1, max_size=3
    ),
)
def test_dilated_attention_is_a_softmax_over_the_keys_of_all_branches(counts, tokens, branches):
    assert_same(dilated_attention, shape=(*counts, tokens), branches=branches)


def test_dilated_attention_without_dilation_is_full_attention():
    q, k, v = draw(2, 3, 24, 8, 8)
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(dilated_attention(q, k, v, branches=[(24, 1)]), expected)
    torch.testing.assert_close(dilated_attention(q, k, v, branches=[(24, 1), (99, 1)]), expected)
    halves = [
        F.scaled_dot_product_attention(*(x[:, :, half] for x in (q, k, v))) for half in (slice(12), slice(12, 24))
    ]
    torch.testing.assert_close(dilated_attention(q, k, v, branches=[(12, 1)]), torch.cat(halves, 2))


def test_dilated_attention_brings_every_token_back_to_its_place():
    v = torch.arange(1.0, 25).view(1, 1, 24, 1).expand(1, 3, 24, 1)
    # With equal scores each output is the mean of the tokens taken together.
    out = dilated_attention(torch.zeros(1, 3, 24, 4), torch.zeros(1, 3, 24, 4), v, branches=[(6, 3)])
    for head in range(3):
        for token in range(24):
            taken = token % 3 == head
            first = token // 6 * 6 + head + 1
            assert out[0, head, token, 0] == (first + 1.5 if taken else 0)
    assert (out[0, :, :, 0] > 0).sum(0).tolist() == [1] * 24
    same = dilated_attention(
        torch.zeros(1, 3, 24, 4), torch.zeros(1, 3, 24, 4), v, branches=[(6, 3)], offsets=[0, 0, 3]
    )
    assert torch.equal(same[:, 0], same[:, 1])
    assert torch.equal(same[:, 0], same[:, 2])


def test_dilated_attention_costs_what_it_says():
    register_flop_formulas()
    inputs = draw(1, 4, 64, 8, 8)
    with FlopCounterMode(display=False) as counter:
        dilated_attention(*inputs, branches=[(16, 4)])
    # 4 heads, 4 segments, 4 tokens of each: two products of 4 * 4 * 8 multiply-adds.
    assert counter.get_total_flops() == 4 * 4 * 2 * 2 * 4 * 4 * 8


@settings(max_examples=25, deadline=None)
@given(counts=COUNTS, tokens=st.integers(1, 40), before=st.integers(0, 50), after=st.integers(0, 50))
def test_sliding_window_attention_is_masked_attention(counts, tokens, before, after):
    assert_same(sliding_window_attention, shape=(*counts, tokens), before=before, after=after)


@settings(max_examples=25, deadline=None)
@given(
    counts=COUNTS,
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    data=st.data(),
)
def test_window_attention_is_masked_attention(counts, grid, window, data):
    shift = tuple(data.draw(st.integers(0, size - 1)) for size in window)
    shape = (*counts, grid[0] * grid[1])
    assert_same(window_attention, shape=shape, grid=grid, window=window, shift=shift)


def test_one_window_is_full_attention():
    q, k, v = draw(2, 3, 20, 8, 8)
    expected = F.scaled_dot_product_attention(q, k, v, scale=0.3)
    torch.testing.assert_close(window_attention(q, k, v, (4, 5), window=(4, 5), scale=0.3), expected)
    torch.testing.assert_close(sliding_window_attention(q, k, v, before=19, after=19, scale=0.3), expected)


@settings(max_examples=25, deadline=None)
@given(counts=COUNTS, tokens=st.integers(1, 300), causal=st.booleans())
def test_taylor_attention_is_its_quadratic_form(counts, tokens, causal):
    assert_same(taylor_linear_attention, backend="torch", shape=(*counts, tokens), causal=causal)


def test_packed_features_have_the_products_of_the_full_ones():
    x, y = torch.randn(2, 50, 16, dtype=torch.float64)
    packed, full = ([f(z) for z in (x, y)] for f in (taylor_features, reference.features))
    assert packed[0].shape[-1] == 153
    assert full[0].shape[-1] == 273
    products = packed[0] @ packed[1].T
    torch.testing.assert_close(products, full[0] @ full[1].T)
    s = x @ y.T / 4
    torch.testing.assert_close(products, 1 + s + s.square() / 2)
    assert products.min() >= 0.5 - 1e-12


def test_taylor_attention_of_half_precision_adds_up_in_float32():
    q, k, v = (x.detach() for x in draw(1, 1, 2048, 16, 8))
    exact = taylor_linear_attention(*(x.bfloat16().double() for x in (q, k, v)))
    half = taylor_linear_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), exact, rtol=8e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            taylor_linear_attention(q, k, v),
            taylor_linear_attention(q, k, v, backend="reference"),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("name", ["op_based_A", "op_based_B"])
@pytest.mark.parametrize("backends", [("torch", "sdpa"), ("reference", "reference")])
def test_goldens_of_based(name, backends):
    folder = GOLDENS / name
    if not folder.exists():
        pytest.skip("no ../shared/goldens here")
    manifest, stored = json.loads((folder / "manifest.json").read_text()), np.load(folder / "case0.npz")
    config, case = manifest["config"], manifest["cases"][0]
    weights = {}
    for key, shape in manifest["params"].items():
        seed = zlib.crc32((manifest["salt"] + key).encode()) & 0xFFFFFFFF
        n = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        weights[key] = torch.tensor(n / np.sqrt(np.prod(shape[1:])) if n.ndim > 1 else 0.1 * n).double()
    x = np.random.RandomState(case["inputs"]["seed"]).standard_normal(case["inputs"]["shape"]).astype(np.float32)
    x = torch.tensor(x).double()
    heads = config["num_heads"]

    def split(x):
        return x.unflatten(2, (heads, -1)).transpose(1, 2)

    q, k, v = (split(x @ weights[f"linear.proj_{part}.weight"].T) for part in "qkv")
    y = taylor_linear_attention(q, k, v, causal=True, eps=config["eps"], backend=backends[0])
    linear = y.transpose(1, 2).flatten(2) @ weights["linear.out_proj.weight"].T
    q, k, v = map(split, (x @ weights["sliding.Wqkv.weight"].T + weights["sliding.Wqkv.bias"]).chunk(3, dim=2))
    y = sliding_window_attention(q, k, v, before=config["window_size"] // 2, backend=backends[1])
    sliding = y.transpose(1, 2).flatten(2) @ weights["sliding.out_proj.weight"].T + weights["sliding.out_proj.bias"]
    phi = reference.features(x[..., : config["feature_dim"]])
    for part, got in (("linear", linear), ("sliding", sliding), ("phi", phi)):
        right = stored[part]
        assert (
            np.abs(got.numpy().ravel()[:: case["outputs"][part]["stride"]] - right).max() <= 1e-6 * np.abs(right).max()
        )


CALLS = {
    "dilated": lambda q, k, v: dilated_attention(q, k, v, branches=[(4, 2), (6, 1)]),
    "sliding": lambda q, k, v: sliding_window_attention(q, k, v, before=2, after=1),
    "window": lambda q, k, v: window_attention(q, k, v, (2, 4), window=(2, 3), shift=(1, 0)),
    "taylor": taylor_linear_attention,
    "taylor causal": lambda q, k, v: taylor_linear_attention(q, k, v, causal=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_gradients_by_finite_differences(call):
    assert torch.autograd.gradcheck(call, draw(1, 2, 8, 2, 2, torch.float64), fast_mode=True)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_compiles_without_graph_breaks(call):
    inputs = draw(1, 2, 8)
    y = torch.compile(call, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(y, call(*inputs))
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(y.square().sum(), inputs))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda q, k, v: dilated_attention(q[0], k, v, branches=[(4, 2)]), "q"),
        (lambda q, k, v: dilated_attention(q, k[:, :, :4], v, branches=[(4, 2)]), "k"),
        (lambda q, k, v: dilated_attention(q, k, v.double(), branches=[(4, 2)]), "v"),
        (lambda q, k, v: dilated_attention(q, k, v, branches=[(4, 5)]), "branches"),
        (lambda q, k, v: dilated_attention(q, k, v, branches=[]), "branches"),
        (lambda q, k, v: dilated_attention(q, k, v, branches=[(4, 2)], offsets=[0]), "offsets"),
        (lambda q, k, v: sliding_window_attention(q, k, v[:1, :1], before=2), "v"),
        (lambda q, k, v: sliding_window_attention(q, k, v, before=-1), "before"),
        (lambda q, k, v: sliding_window_attention(q, k, v, before=1, after=-1), "after"),
        (lambda q, k, v: window_attention(q, k, v, (3, 3), window=(2, 2)), "grid"),
        (lambda q, k, v: window_attention(q, k, v, (2, 4), window=(0, 2)), "window"),
        (lambda q, k, v: window_attention(q, k, v, (2, 4), window=(2, 2), shift=(2, 0)), "shift"),
        (lambda q, k, v: taylor_linear_attention(q, k, v, eps=-1), "eps"),
        (lambda q, k, v: taylor_linear_attention(q, k, v, backend="sdpa"), "backend"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(UsageError, match=f"^{name}: "):
        call(*draw(1, 2, 8))
