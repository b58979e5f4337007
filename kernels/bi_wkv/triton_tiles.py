"""Tiles of tokens in the Triton kernels of Bi-WKV: where they lie, how they are read and written, and what is small.

A chunk of `ROWS * PARTS` tokens is a tile `[ROWS, PARTS, BLOCK_C]` whose part w holds the tokens from `w * ROWS` on, so
that a thread holds whole rows of parts and walks along them without asking others. Exponents are in units of log 2.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..triton_tools import INTERPRETED

NOTHING = tl.constexpr(-1e30)
LOG2_E = tl.constexpr(1.4426950408889634)
_VECTOR = tl.constexpr(2)

if INTERPRETED:

    @triton.jit
    def divide(x, y):
        return x / y

else:
    from triton.language.extra import libdevice

    @triton.jit
    def divide(x, y):
        """Quotient to 2 units in the last place, for y from 2**-126 to 2**126."""
        return libdevice.fast_dividef(x, y)


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp2(-x * LOG2_E))


@triton.jit
def places(ROWS: tl.constexpr, PARTS: tl.constexpr):
    """Position of each token of the tile in its chunk, `[ROWS, PARTS, 1]`."""
    return tl.arange(0, PARTS)[None, :, None] * ROWS + tl.arange(0, ROWS)[:, None, None]


@triton.jit
def wide(x):
    """`[BLOCK_C]` for use with a tile."""
    return x[None, None, :]


@triton.jit
def max_of(x):
    return tl.max(tl.max(x, 0), 0)


@triton.jit
def sum_of(x):
    return tl.sum(tl.sum(x, 0), 0)


@triton.jit
def load_tile(tensor, first, t_stride: tl.constexpr, c_stride: tl.constexpr, p, c, mask, other):
    """Float32 tile of `[B, T, C]`; `first` is the 64-bit offset of the chunk's first token."""
    offset = tl.max_contiguous(p * t_stride + c * c_stride, (1, 1, _VECTOR))
    return tl.load(tensor + first + offset, mask, other=other).to(tl.float32)


@triton.jit
def store_tile(tensor, first, value, channels: tl.constexpr, p, c, mask):
    """Stores a tile into contiguous `[B, T, C]`."""
    offset = tl.max_contiguous(p * channels + c, (1, 1, _VECTOR))
    tl.store(tensor + first + offset, value.to(tensor.dtype.element_ty), mask)


@triton.jit
def row_at(x, p, position):
    """The token at one position of a tile, `[BLOCK_C]`."""
    return sum_of(tl.where(p == position, x, 0.0))


@triton.jit
def chunk_of(chunk, tokens, channels: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, BLOCK_C: tl.constexpr):
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
def load_outcome(g, y, logsum, first, channels: tl.constexpr, p, c, mask):
    """Gradients, outputs and the logarithms of what the outputs were multiplied by."""
    logs = -load_tile(logsum, first, channels, 1, p, c, mask, -NOTHING)
    return load_tile(g, first, channels, 1, p, c, mask, 0.0), load_tile(y, first, channels, 1, p, c, mask, 0.0), logs


@triton.jit
def load_exponents(decay, bonus, c_mask):
    """Decay and bonus in units of log 2."""
    return tl.load(decay, c_mask, other=0.0) * LOG2_E, tl.load(bonus, c_mask, other=0.0) * LOG2_E
