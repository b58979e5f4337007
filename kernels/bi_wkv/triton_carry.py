"""The Triton kernel of Bi-WKV that scans over the summaries of chunks."""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_tiles import LOG2_E, NOTHING


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
