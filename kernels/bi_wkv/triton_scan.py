"""Sums over the earlier and later tokens inside a tile of the Triton kernels of Bi-WKV.

The terms of a sum are exponentials relative to the largest of the chunk; one token on they weigh `rate = exp(-decay)`
as much, so a walk needs no more exponentials. Moments are sums whose terms are multiplied by their distance.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_tiles import LOG2_E, max_of, row_at, sum_of, wide

# Exponents in a chunk may differ by this much beyond those of the keys before float32 runs out of range.
SPREAD = tl.constexpr(86.0)
# Added to a number it changes nothing, not even for a compiler that heeds the sign of a zero.
_NEUTRAL = tl.constexpr(-0.0)


@triton.jit
def spread_of(decay, bonus, length):
    """How far the exponents of two tokens of a chunk at most differ by distance and self-weight."""
    far = -decay * length
    high = tl.maximum(tl.maximum(far, bonus), 0.0)
    return tl.max(high - tl.minimum(tl.minimum(far, bonus), 0.0), 0)


@triton.jit
def _row(x, rows, i):
    """Row `i` of a tile, `[1, PARTS, BLOCK_C]`; the compiler makes a register of it."""
    return tl.sum(tl.where(rows == i, x, _NEUTRAL), 0, keep_dims=True)


@triton.jit
def _walk(
    a,
    b,
    rate,
    sum_a,
    sum_b,
    far_a,
    far_b,
    ROWS: tl.constexpr,
    REVERSE: tl.constexpr,
    MOMENTS: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Walks along the rows from the given sums and moments to those behind the last row.

    With `KEEP` also gives what stood before each row, as tiles.
    """
    rows = tl.arange(0, ROWS)[:, None, None]
    before_a, before_b, moment_a, moment_b = a, b, a, b
    for step in tl.static_range(ROWS):
        i = ROWS - 1 - step if REVERSE else step
        here = rows == i
        if KEEP:
            before_a, before_b = tl.where(here, sum_a, before_a), tl.where(here, sum_b, before_b)
        if KEEP and MOMENTS:
            moment_a, moment_b = tl.where(here, far_a, moment_a), tl.where(here, far_b, moment_b)
        if MOMENTS:
            far_a, far_b = rate * (far_a + sum_a), rate * (far_b + sum_b)
        sum_a = rate * sum_a + _row(a, rows, i)
        sum_b = rate * sum_b + _row(b, rows, i)
    return sum_a, sum_b, far_a, far_b, before_a, before_b, moment_a, moment_b


@triton.jit
def part_order(PARTS: tl.constexpr, REVERSE: tl.constexpr):
    """Number of parts that a walk has passed before each, `[1, PARTS, 1]`."""
    w = tl.arange(0, PARTS)[None, :, None]
    return PARTS - 1 - w if REVERSE else w


@triton.jit
def part_sums(a, b, decay, ROWS: tl.constexpr, PARTS: tl.constexpr, REVERSE: tl.constexpr, MOMENTS: tl.constexpr):
    """Sums and moments of every part at its last token (`REVERSE`: first), `[1, PARTS, BLOCK_C]`."""
    zero = tl.zeros((1, PARTS, a.shape[2]), tl.float32)
    sum_a, sum_b, far_a, far_b, _, _, _, _ = _walk(
        a, b, tl.exp2(-decay), zero, zero, zero, zero, ROWS, REVERSE, MOMENTS, False
    )
    return sum_a, sum_b, far_a, far_b


@triton.jit
def chunk_sums(a, b, decay, ROWS: tl.constexpr, PARTS: tl.constexpr, REVERSE: tl.constexpr, MOMENTS: tl.constexpr):
    """Sums and moments of the chunk at its last token (`REVERSE`: first), `[BLOCK_C]`; `decay` is `[1, 1, BLOCK_C]`."""
    sum_a, sum_b, far_a, far_b = part_sums(a, b, decay, ROWS, PARTS, REVERSE, MOMENTS)
    behind = ROWS * (PARTS - 1 - part_order(PARTS, REVERSE))
    weight = tl.exp2(-decay * behind)
    chunk_a, chunk_b = sum_of(weight * sum_a), sum_of(weight * sum_b)
    if MOMENTS:
        return chunk_a, chunk_b, sum_of(weight * (far_a + behind * sum_a)), sum_of(weight * (far_b + behind * sum_b))
    else:
        return chunk_a, chunk_b, chunk_a, chunk_b


@triton.jit
def _add_shifted(a1, b1, c1, d1, a2, b2, c2, d2):
    """`a`, `b`: sums of a run; `c`, `d`: sums of a run without its last element."""
    return a1 + a2, b1 + b2, a1 + c2, b1 + d2


@triton.jit
def _before_parts(a, b, REVERSE: tl.constexpr):
    """Exclusive sums along the parts of `[1, PARTS, BLOCK_C]`."""
    neutral = tl.full(a.shape, _NEUTRAL, tl.float32)
    _, _, before_a, before_b = tl.associative_scan((a, b, neutral, neutral), 1, _add_shifted, reverse=REVERSE)
    return before_a, before_b


@triton.jit
def sums_before(
    a,
    b,
    decay,
    carry_a,
    carry_b,
    carry_far_a,
    carry_far_b,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    REVERSE: tl.constexpr,
    MOMENTS: tl.constexpr,
):
    """Sums and moments of the terms `a` and `b` over all earlier tokens (`REVERSE`: later), for each token of a tile.

    The nearest token is unweakened, at distance 0. `decay` and the sums and moments over all chunks before (behind),
    `carry_*`, are `[1, 1, BLOCK_C]`.
    """
    sum_a, sum_b, far_a, far_b = part_sums(a, b, decay, ROWS, PARTS, REVERSE, MOMENTS)
    w = part_order(PARTS, REVERSE)
    up = tl.exp2(decay * (ROWS * w))
    down, rate = tl.exp2(-decay * (ROWS * (w - 1))), tl.exp2(-decay * ROWS)
    if MOMENTS:
        # Distances from part v to part w are w - 1 - v parts; the share of v is taken before the sum.
        far_a, far_b = _before_parts((far_a - ROWS * w * sum_a) * up, (far_b - ROWS * w * sum_b) * up, REVERSE)
    sum_a, sum_b = _before_parts(sum_a * up, sum_b * up, REVERSE)
    if MOMENTS:
        far_a = down * (far_a + ROWS * (w - 1) * sum_a + rate * (carry_far_a + ROWS * w * carry_a))
        far_b = down * (far_b + ROWS * (w - 1) * sum_b + rate * (carry_far_b + ROWS * w * carry_b))
    sum_a, sum_b = down * (sum_a + rate * carry_a), down * (sum_b + rate * carry_b)
    _, _, _, _, before_a, before_b, moment_a, moment_b = _walk(
        a, b, tl.exp2(-decay), sum_a, sum_b, far_a, far_b, ROWS, REVERSE, MOMENTS, True
    )
    return before_a, before_b, moment_a, moment_b


@triton.jit
def output_of(q, keys, values, p, decay, bonus, left_top, left_a, left_b, right_top, right_a, right_b, length):
    """Output of the token at position `q` and the logarithm of its denominator, whatever decay and bonus are.

    Every exponent is taken relative to the largest that this token meets; `left_*` and `right_*` come from all chunks
    before and behind. All are `[BLOCK_C]` but the tiles `keys`, `values` and `p`.
    """
    distance = tl.abs(p - q)
    exponents = tl.where(distance == 0, wide(bonus), (1 - distance) * wide(decay)) + keys * LOG2_E
    left_here, right_here = left_top - q * decay, right_top - (length - 1 - q) * decay
    top = tl.maximum(max_of(exponents), tl.maximum(left_here, right_here))
    left, right = tl.exp2(left_here - top), tl.exp2(right_here - top)
    terms = tl.exp2(exponents - wide(top))
    total = sum_of(terms) + left * left_b + right * right_b
    return (sum_of(terms * values) + left * left_a + right * right_a) / total, top + tl.log2(total)


@triton.jit
def gradient_sums_of(q, key, logs, grads, outputs, p, decay, bonus):
    """What the tokens of the chunk give to the one at position `q`: sums over gradients, and those times outputs.

    Then both as moments, and the share of the token itself in both; a weight is at most 1, so none needs rescaling.
    """
    distance = (tl.abs(p - q) - 1).to(tl.float32)
    exponents = tl.where(p == q, wide(bonus), -distance * wide(decay)) + (logs + wide(key)) * LOG2_E
    from_g = tl.exp2(exponents) * grads
    from_h = from_g * outputs
    far_g, far_h = tl.where(p == q, 0.0, from_g * distance), tl.where(p == q, 0.0, from_h * distance)
    own_g, own_h = row_at(from_g, p, q), row_at(from_h, p, q)
    return sum_of(from_g), sum_of(from_h), sum_of(far_g), sum_of(far_h), own_g, own_h
