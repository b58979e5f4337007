"""The Triton kernels of Bi-WKV: summaries of all chunks, a scan over the summaries, the tokens of all chunks.

A summary holds, for each direction, the largest exponent and the sums relative to it, in planes `[B * chunks, C]`; the
scan replaces it by the sums over all chunks before (behind). `linbench.kernels.bi_wkv.cpu` does the same on a CPU.
Decays, bonuses and exponents are in units of log 2 here.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_scan import (
    LOG2_E,
    NOTHING,
    SPREAD,
    chunk_sums,
    divide,
    gradient_sums_of,
    load_tile,
    max_of,
    output_of,
    places,
    row_at,
    sigmoid,
    spread_of,
    store_tile,
    sum_of,
    sums_before,
    wide,
)


@triton.jit
def _chunk(chunk, tokens, channels: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, BLOCK_C: tl.constexpr):
    """First token of the chunk, positions in it, channels, and which of both exist."""
    start = chunk.to(tl.int64) * (ROWS * PARTS)
    p = places(ROWS, PARTS)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    c = channel[None, None, :]
    mask = p < tokens - start
    if channels % BLOCK_C:
        mask = mask & (c < channels)
    return start, p, c, mask, channel, channel < channels


@triton.jit
def _summarise(keys, a, b, p, lam, out, plane, c_mask, ROWS: tl.constexpr, PARTS: tl.constexpr, MOMENTS: tl.constexpr):
    """Stores the summary of a chunk: largest exponent, two sums, with `MOMENTS` also their moments; twice."""
    planes: tl.constexpr = 5 if MOMENTS else 3
    nearby = spread_of(lam, tl.zeros_like(lam), ROWS * PARTS) <= SPREAD
    top = max_of(keys) * LOG2_E
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
            side = max_of(exponents)
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
    start, p, c, mask, channel, c_mask = _chunk(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    lam = tl.load(decay + channel, c_mask, other=0.0) * LOG2_E
    out = states + (batch * chunks + tl.program_id(1)) * channels + channel
    _summarise(keys, values, tl.full(keys.shape, 1.0, tl.float32), p, lam, out, plane, c_mask, ROWS, PARTS, False)


@triton.jit
def _load_outcome(g, y, logsum, first, channels: tl.constexpr, p, c, mask):
    """Gradients, outputs and the logarithms of what the outputs were multiplied by."""
    logs = -load_tile(logsum, first, channels, 1, p, c, mask, -NOTHING)
    return load_tile(g, first, channels, 1, p, c, mask, 0.0), load_tile(y, first, channels, 1, p, c, mask, 0.0), logs


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
    start, p, c, mask, channel, c_mask = _chunk(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    first = (batch * tokens + start) * channels
    grads, outputs, keys = _load_outcome(g, y, logsum, first, channels, p, c, mask)
    if GATED:
        grads *= sigmoid(load_tile(gate, batch * gate_b + start * gate_t, gate_t, gate_c, p, c, mask, 0.0))
    lam = tl.load(decay + channel, c_mask, other=0.0) * LOG2_E
    out = states + (batch * chunks + tl.program_id(1)) * channels + channel
    _summarise(keys, grads, grads * outputs, p, lam, out, plane, c_mask, ROWS, PARTS, True)


@triton.jit
def _join(n1, age1, top1, a1, b1, fa1, fb1, n2, age2, top2, a2, b2, fa2, fb2):
    """Joins two runs of chunks: tokens, what they weaken by, largest exponent, sums and moments at the last token."""
    aged = top1 - age2
    top = tl.maximum(aged, top2)
    kept, added = tl.exp2((aged - top).to(tl.float32)), tl.exp2((top2 - top).to(tl.float32))
    return (
        n1 + n2,
        age1 + age2,
        top,
        a1 * kept + a2 * added,
        b1 * kept + b2 * added,
        (fa1 + n2 * a1) * kept + fa2 * added,
        (fb1 + n2 * b1) * kept + fb2 * added,
    )


@triton.jit
def _last(x, rows, BLOCK: tl.constexpr):
    return tl.sum(tl.where(rows == BLOCK - 1, x, 0.0), 0)


@triton.jit
def carry_summaries(
    states,
    carries,
    decay,
    chunks,
    plane,
    length: tl.constexpr,
    channels: tl.constexpr,
    MOMENTS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Writes the sums over all chunks before (first direction) or behind (second) each chunk, at its near end."""
    planes: tl.constexpr = 5 if MOMENTS else 3
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    c_mask = channel < channels
    direction = tl.program_id(1).to(tl.int64)
    base = direction * planes * plane + tl.program_id(2).to(tl.int64) * chunks * channels + channel[None, :]
    lam = tl.load(decay + channel, c_mask, other=0.0).to(tl.float64) * LOG2_E
    rows = tl.arange(0, BLOCK)[:, None]
    zero = tl.zeros((BLOCK, BLOCK_C), tl.float32)
    last_top = tl.full((BLOCK_C,), NOTHING, tl.float64)
    last_a, last_b = tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    last_far_a, last_far_b = last_a, last_b
    for first in range(0, chunks, BLOCK):
        step = first + rows
        # The sums before a chunk end with the summary of its neighbour.
        source = tl.where(direction == 0, step - 1, chunks - step)
        mask = (step > 0) & (step < chunks) & c_mask[None, :]
        offset = base + source.to(tl.int64) * channels
        top = tl.load(states + offset, mask, other=NOTHING).to(tl.float64)
        a = tl.load(states + offset + plane, mask, other=0.0)
        b = tl.load(states + offset + 2 * plane, mask, other=0.0)
        far_a, far_b = zero, zero
        if MOMENTS:
            far_a = tl.load(states + offset + 3 * plane, mask, other=0.0)
            far_b = tl.load(states + offset + 4 * plane, mask, other=0.0)
        n, age, top, a, b, far_a, far_b = tl.associative_scan(
            (zero + length, zero.to(tl.float64) + (lam * length)[None, :], top, a, b, far_a, far_b), 0, _join
        )
        _, _, top, a, b, far_a, far_b = _join(
            zero,
            zero.to(tl.float64),
            zero.to(tl.float64) + last_top[None, :],
            zero + last_a[None, :],
            zero + last_b[None, :],
            zero + last_far_a[None, :],
            zero + last_far_b[None, :],
            n,
            age,
            top,
            a,
            b,
            far_a,
            far_b,
        )
        target = tl.where(direction == 0, step, chunks - 1 - step)
        out = base + target.to(tl.int64) * channels
        exists = (step < chunks) & c_mask[None, :]
        tl.store(carries + out, top.to(tl.float32), exists)
        tl.store(carries + out + plane, a, exists)
        tl.store(carries + out + 2 * plane, b, exists)
        if MOMENTS:
            tl.store(carries + out + 3 * plane, far_a, exists)
            tl.store(carries + out + 4 * plane, far_b, exists)
        last_top, last_a, last_b = _last(top, rows, BLOCK), _last(a, rows, BLOCK), _last(b, rows, BLOCK)
        last_far_a, last_far_b = _last(far_a, rows, BLOCK), _last(far_b, rows, BLOCK)


@triton.jit
def _load_exponents(decay, bonus, c_mask):
    return tl.load(decay, c_mask, other=0.0) * LOG2_E, tl.load(bonus, c_mask, other=0.0) * LOG2_E


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
    start, p, c, mask, channel, c_mask = _chunk(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    lam, own = _load_exponents(decay + channel, bonus + channel, c_mask)
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
    start, p, c, mask, channel, c_mask = _chunk(tl.program_id(1), tokens, channels, ROWS, PARTS, BLOCK_C)
    first = (batch * tokens + start) * channels
    keys = load_tile(k, batch * k_b + start * k_t, k_t, k_c, p, c, mask, NOTHING)
    values = load_tile(v, batch * v_b + start * v_t, v_t, v_c, p, c, mask, 0.0)
    grads, outputs, logs = _load_outcome(g, y, logsum, first, channels, p, c, mask)
    if GATED:
        share = sigmoid(load_tile(gate, batch * gate_b + start * gate_t, gate_t, gate_c, p, c, mask, 0.0))
        store_tile(ggate, first, grads * outputs * share * (1.0 - share), channels, p, c, mask)
        grads *= share
    lam, own = _load_exponents(decay + channel, bonus + channel, c_mask)
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
