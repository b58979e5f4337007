"""The Triton kernels of Bi-WKV that write the tokens of every chunk: outputs, or gradients.

What comes from the chunks before and behind is in the planes that `triton_carry` wrote.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_scan import SPREAD, gradient_sums_of, output_of, spread_of, sums_before
from .triton_tiles import (
    LOG2_E,
    NOTHING,
    chunk_of,
    divide,
    load_exponents,
    load_outcome,
    load_tile,
    max_of,
    row_at,
    sigmoid,
    store_tile,
    sum_of,
    wide,
)


@triton.jit
def _load_sums(state, plane, c_mask):
    """Largest exponent and both sums."""
    top = tl.load(state, c_mask, other=NOTHING)
    return top, tl.load(state + plane, c_mask, other=0.0), tl.load(state + 2 * plane, c_mask, other=0.0)


@triton.jit
def _load_moments(state, plane, c_mask):
    return tl.load(state + 3 * plane, c_mask, other=0.0), tl.load(state + 4 * plane, c_mask, other=0.0)


@triton.jit
def forward_tokens(
    k,
    v,
    gate,
    decay,
    bonus,
    carries,
    out,
    y,
    logsum,
    k_b,
    v_b,
    gate_b,
    tokens,
    chunks,
    plane,
    k_t: tl.constexpr,
    k_c: tl.constexpr,
    v_t: tl.constexpr,
    v_c: tl.constexpr,
    gate_t: tl.constexpr,
    gate_c: tl.constexpr,
    channels: tl.constexpr,
    GATED: tl.constexpr,
    SAVE: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Writes `out`; with `SAVE` also the log-denominators, and where gated the output before the gate, `y`."""
    batch = tl.program_id(2).to(tl.int64)
    start, p, c, mask, channel, c_mask = chunk_of(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    lam, own = load_exponents(decay + channel, bonus + channel, c_mask)
    carry = carries + (batch * chunks + tl.program_id(1)) * channels + channel
    left_top, left_a, left_b = _load_sums(carry, plane, c_mask)
    right_top, right_a, right_b = _load_sums(carry + 3 * plane, plane, c_mask)
    first = (batch * tokens + start) * channels
    gate_first = batch * gate_b + start * gate_t

    if spread_of(lam, own, ROWS * PARTS) <= SPREAD:
        top = tl.maximum(max_of(keys) * LOG2_E, tl.maximum(left_top, right_top))
        left, right = wide(tl.exp2(left_top - top)), wide(tl.exp2(right_top - top))
        terms = tl.exp2(keys * LOG2_E - wide(top))
        weighted = terms * values
        from_left, left_total, _, _ = sums_before(
            weighted, terms, wide(lam), left * wide(left_a), left * wide(left_b), 0.0, 0.0, ROWS, PARTS, False, False
        )
        from_right, right_total, _, _ = sums_before(
            weighted, terms, wide(lam), right * wide(right_a), right * wide(right_b), 0.0, 0.0, ROWS, PARTS, True, False
        )
        self_weight = wide(tl.exp2(own))
        total = left_total + right_total + self_weight * terms
        result = divide(from_left + from_right + self_weight * weighted, total)
        if SAVE:
            store_tile(logsum, first, (wide(top) + tl.log2(total)) / LOG2_E, channels, p, c, mask)
        if GATED:
            if SAVE:
                store_tile(y, first, result, channels, p, c, mask)
            result *= sigmoid(load_tile(gate, gate_first, gate_t, gate_c, p, c, mask, 0.0))
        store_tile(out, first, result, channels, p, c, mask)
    else:
        for q in range(tl.minimum(tokens - start, ROWS * PARTS).to(tl.int32)):
            result, log2_total = output_of(
                q, keys, values, p, lam, own, left_top, left_a, left_b, right_top, right_a, right_b, ROWS * PARTS
            )
            place = first + q * channels + channel
            if SAVE:
                tl.store(logsum + place, log2_total / LOG2_E, c_mask)
            if GATED:
                if SAVE:
                    tl.store(y + place, result.to(y.dtype.element_ty), c_mask)
                gates = tl.load(gate + gate_first + q * gate_t + channel * gate_c, c_mask, other=0.0)
                result *= sigmoid(gates.to(tl.float32))
            tl.store(out + place, result.to(out.dtype.element_ty), c_mask)


@triton.jit
def backward_tokens(
    k,
    v,
    gate,
    g,
    y,
    logsum,
    decay,
    bonus,
    carries,
    gk,
    gv,
    ggate,
    partials,
    k_b,
    v_b,
    gate_b,
    tokens,
    chunks,
    plane,
    k_t: tl.constexpr,
    k_c: tl.constexpr,
    v_t: tl.constexpr,
    v_c: tl.constexpr,
    gate_t: tl.constexpr,
    gate_c: tl.constexpr,
    channels: tl.constexpr,
    GATED: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Writes `gk`, `gv`, `ggate` and the chunk's shares of the gradients for decay and bonus, `partials`."""
    batch = tl.program_id(2).to(tl.int64)
    start, p, c, mask, channel, c_mask = chunk_of(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    first = (batch * tokens + start) * channels
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    grads, outputs, logs = load_outcome(g, y, logsum, first, channels, p, c, mask)
    if GATED:
        share = sigmoid(load_tile(gate, batch * gate_b + start * gate_t, gate_t, gate_c, p, c, mask, 0.0))
        store_tile(ggate, first, grads * outputs * share * (1.0 - share), channels, p, c, mask)
        grads *= share
    lam, own = load_exponents(decay + channel, bonus + channel, c_mask)
    carry = carries + (batch * chunks + tl.program_id(1)) * channels + channel
    partial = partials + (batch * chunks + tl.program_id(1)) * channels + channel
    decay_share, bonus_share = tl.zeros_like(lam), tl.zeros_like(lam)

    if spread_of(lam, own, ROWS * PARTS) <= SPREAD:
        top = tl.maximum(tl.load(carry, c_mask, other=NOTHING), tl.load(carry + 5 * plane, c_mask, other=NOTHING))
        top = tl.maximum(max_of(logs) * LOG2_E, top)
        weight = tl.exp2(keys * LOG2_E + wide(top))
        from_g = tl.exp2(logs * LOG2_E - wide(top)) * grads
        from_h = from_g * outputs
        total_g, total_h = wide(tl.exp2(own)) * from_g, wide(tl.exp2(own)) * from_h
        bonus_share = sum_of(weight * (values * total_g - total_h))
        for direction in tl.static_range(2):
            side_top, a, b = _load_sums(carry + direction * 5 * plane, plane, c_mask)
            far_a, far_b = _load_moments(carry + direction * 5 * plane, plane, c_mask)
            side = wide(tl.exp2(side_top - top))
            sum_g, sum_h, far_g, far_h = sums_before(
                from_g,
                from_h,
                wide(lam),
                side * wide(a),
                side * wide(b),
                side * wide(far_a),
                side * wide(far_b),
                ROWS,
                PARTS,
                direction == 1,
                True,
            )
            total_g += sum_g
            total_h += sum_h
            decay_share += sum_of(weight * (far_h - values * far_g))
        store_tile(gv, first, weight * total_g, channels, p, c, mask)
        store_tile(gk, first, weight * (values * total_g - total_h), channels, p, c, mask)
    else:
        for q in range(tl.minimum(tokens - start, ROWS * PARTS).to(tl.int32)):
            key, value = row_at(keys, p, q), row_at(values, p, q)
            total_g, total_h, far_g, far_h, own_g, own_h = gradient_sums_of(q, key, logs, grads, outputs, p, lam, own)
            for direction in tl.static_range(2):
                side_top, a, b = _load_sums(carry + direction * 5 * plane, plane, c_mask)
                side_far_g, side_far_h = _load_moments(carry + direction * 5 * plane, plane, c_mask)
                passed = ROWS * PARTS - 1 - q if direction else q
                side = tl.exp2(side_top - passed * lam + key * LOG2_E)
                total_g += side * a
                total_h += side * b
                far_g += side * (side_far_g + passed * a)
                far_h += side * (side_far_h + passed * b)
            decay_share += far_h - value * far_g
            bonus_share += value * own_g - own_h
            place = first + q * channels + channel
            tl.store(gv + place, total_g.to(gv.dtype.element_ty), c_mask)
            tl.store(gk + place, (value * total_g - total_h).to(gk.dtype.element_ty), c_mask)
    tl.store(partial, decay_share, c_mask)
    tl.store(partial + plane, bonus_share, c_mask)
