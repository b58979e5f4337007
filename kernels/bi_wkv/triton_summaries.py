"""The Triton kernels of Bi-WKV that sum up every chunk, for each direction.

A summary holds the largest exponent and the sums relative to it, in planes `[B * chunks, C]`. Decays, bonuses and
exponents are in units of log 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_scan import SPREAD, chunk_sums, spread_of
from .triton_tiles import LOG2_E, NOTHING, chunk_of, load_outcome, load_tile, max_of, sigmoid, sum_of, wide


@triton.jit
def _summarise(keys, a, b, p, lam, out, plane, c_mask, ROWS: tl.constexpr, PARTS: tl.constexpr, MOMENTS: tl.constexpr):
    """Stores the summary of a chunk: largest exponent, two sums, with `MOMENTS` also their moments; twice."""
    planes: tl.constexpr = 5 if MOMENTS else 3
    nearby = spread_of(lam, tl.zeros_like(lam), ROWS * PARTS) <= SPREAD
    # The keys of a chunk may all be minus infinity.
    top = tl.maximum(max_of(keys) * LOG2_E, NOTHING)
    for direction in tl.static_range(2):
        if nearby:
            terms = tl.exp2(keys * LOG2_E - wide(top))
            sum_a, sum_b, far_a, far_b = chunk_sums(
                terms * a, terms * b, wide(lam), ROWS, PARTS, direction == 1, MOMENTS
            )
            side = top
        else:
            distance = (p if direction else ROWS * PARTS - 1 - p).to(tl.float32)
            exponents = keys * LOG2_E - distance * wide(lam)
            side = tl.maximum(max_of(exponents), NOTHING)
            terms = tl.exp2(exponents - wide(side))
            sum_a, sum_b = sum_of(terms * a), sum_of(terms * b)
            far_a, far_b = sum_a, sum_b
            if MOMENTS:
                far_a, far_b = sum_of(terms * a * distance), sum_of(terms * b * distance)
        state = out + direction * planes * plane
        tl.store(state, side, c_mask)
        tl.store(state + plane, sum_a, c_mask)
        tl.store(state + 2 * plane, sum_b, c_mask)
        if MOMENTS:
            tl.store(state + 3 * plane, far_a, c_mask)
            tl.store(state + 4 * plane, far_b, c_mask)


@triton.jit
def forward_summaries(
    k,
    v,
    decay,
    states,
    k_b,
    v_b,
    tokens,
    chunks,
    plane,
    k_t: tl.constexpr,
    k_c: tl.constexpr,
    v_t: tl.constexpr,
    v_c: tl.constexpr,
    channels: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    start, p, c, mask, channel, c_mask = chunk_of(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    lam = tl.load(decay + channel, c_mask, other=0.0) * LOG2_E
    out = states + (batch * chunks + tl.program_id(1)) * channels + channel
    _summarise(keys, values, tl.full(keys.shape, 1.0, tl.float32), p, lam, out, plane, c_mask, ROWS, PARTS, False)


@triton.jit
def backward_summaries(
    g,
    y,
    logsum,
    gate,
    decay,
    states,
    gate_b,
    tokens,
    chunks,
    plane,
    gate_t: tl.constexpr,
    gate_c: tl.constexpr,
    channels: tl.constexpr,
    GATED: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    start, p, c, mask, channel, c_mask = chunk_of(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    first = (batch * tokens + start) * channels
    grads, outputs, keys = load_outcome(g, y, logsum, first, channels, p, c, mask)
    if GATED:
        grads *= sigmoid(load_tile(gate, batch * gate_b + start * gate_t, gate_t, gate_c, p, c, mask, 0.0))
    lam = tl.load(decay + channel, c_mask, other=0.0) * LOG2_E
    out = states + (batch * chunks + tl.program_id(1)) * channels + channel
    _summarise(keys, grads, grads * outputs, p, lam, out, plane, c_mask, ROWS, PARTS, True)
