"""Q-shift and its mix on GPUs: Triton, float32 arithmetic on any storage, one read and M writes.

A program handles a block of tokens and a block of channels that all look the same way, so that neighbours are
contiguous too; they come from the caches. Partial sums of the mix's gradient are added in a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..triton_tools import LAUNCH_OPTIONS
from .layout import Grid, channel_cuts

_OUTPUTS_AT_ONCE = 3
_FORWARD_TILE, _BACKWARD_TILE = 2048, 1024
_BACKWARD_TILES = 8


@triton.jit
def _place(group, block, cut1, cut2, cut3, cut4, channels, step, BLOCK_C: tl.constexpr):
    """Channels of the block, which of them exist, and the move (dy, dx) of their group."""
    first = tl.where(group == 0, 0, tl.where(group == 1, cut1, tl.where(group == 2, cut2, cut3)))
    first = tl.where(group == 4, cut4, first)
    last = tl.where(group == 0, cut1, tl.where(group == 1, cut2, tl.where(group == 2, cut3, cut4)))
    last = tl.where(group == 4, channels, last)
    c = first + block * BLOCK_C + tl.arange(0, BLOCK_C)
    dx = tl.where(group == 0, -step, tl.where(group == 1, step, 0))
    dy = tl.where(group == 2, -step, tl.where(group == 3, step, 0))
    return c, c < last, dy, dx


@triton.jit
def _neighbour(token, dy, dx, lead, height, width):
    """The token (dy, dx) away, and whether it exists; tokens off the grid are their own."""
    place = token - lead
    on_grid = (place >= 0) & (place < height * width)
    y, x = place // width + dy, place % width + dx
    there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return tl.where(on_grid, token + dy * width + dx, token), there | (place < 0) | (place >= height * width)


@triton.jit
def _store_mix(out, mix, own, other, offset, c, c_mask, mask):
    share = tl.load(mix + c, c_mask, other=0.0)
    tl.store(out + offset, other + share * (own - other), mask)


@triton.jit
def _forward_kernel(
    x,
    mix,
    out0,
    out1,
    out2,
    x_b,
    x_n,
    x_c,
    tokens,
    channels,
    lead,
    height,
    width,
    step,
    cut1,
    cut2,
    cut3,
    cut4,
    blocks,
    OUTPUTS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Writes `OUTPUTS` mixes, or for none the shifted tokens themselves."""
    c, c_mask, dy, dx = _place(
        tl.program_id(0) // blocks, tl.program_id(0) % blocks, cut1, cut2, cut3, cut4, channels, step, BLOCK_C
    )
    batch = tl.program_id(2).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    source, there = _neighbour(n, dy, dx, lead, height, width)
    mask = (n < tokens)[:, None] & c_mask[None, :]
    image = x + batch * x_b
    columns = c[None, :] * x_c
    other = tl.load(image + source.to(tl.int64)[:, None] * x_n + columns, mask & there[:, None], other=0.0)
    offset = (batch * tokens + n)[:, None] * channels + c[None, :]
    if OUTPUTS == 0:
        tl.store(out0 + offset, other, mask)
    else:
        own = tl.load(image + n.to(tl.int64)[:, None] * x_n + columns, mask, other=0.0).to(tl.float32)
        other = other.to(tl.float32)
        _store_mix(out0, mix, own, other, offset, c, c_mask, mask)
        if OUTPUTS > 1:
            _store_mix(out1, mix + channels, own, other, offset, c, c_mask, mask)
        if OUTPUTS > 2:
            _store_mix(out2, mix + 2 * channels, own, other, offset, c, c_mask, mask)


@triton.jit
def _take_gradient(g, mix, difference, total, gx, offset, from_offset, c, c_mask, mask, from_mask):
    """Adds one output's share of the gradients: to `total` that of its mix, to `gx` that of the tokens."""
    share = tl.load(mix + c, c_mask, other=0.0)
    own = tl.load(g + offset, mask, other=0.0).to(tl.float32)
    back = tl.load(g + from_offset, from_mask, other=0.0).to(tl.float32)
    return total + own * difference, gx + share * own + (1.0 - share) * back


@triton.jit
def _backward_kernel(
    x,
    mix,
    g0,
    g1,
    g2,
    gx,
    partials,
    x_b,
    x_n,
    x_c,
    tokens,
    channels,
    lead,
    height,
    width,
    step,
    cut1,
    cut2,
    cut3,
    cut4,
    blocks,
    OUTPUTS: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Writes the gradient of the tokens and, for every program, its sum for the mix: `partials` `[programs, M, C]`."""
    c, c_mask, dy, dx = _place(
        tl.program_id(0) // blocks, tl.program_id(0) % blocks, cut1, cut2, cut3, cut4, channels, step, BLOCK_C
    )
    batch = tl.program_id(2).to(tl.int64)
    image = x + batch * x_b
    columns = c[None, :] * x_c
    sum0 = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    sum1 = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    sum2 = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for tile in range(TILES):
        n = (tl.program_id(1) * TILES + tile) * BLOCK_N + tl.arange(0, BLOCK_N)
        source, there = _neighbour(n, dy, dx, lead, height, width)
        reader, read = _neighbour(n, -dy, -dx, lead, height, width)
        mask = (n < tokens)[:, None] & c_mask[None, :]
        own = tl.load(image + n.to(tl.int64)[:, None] * x_n + columns, mask, other=0.0).to(tl.float32)
        other = tl.load(image + source.to(tl.int64)[:, None] * x_n + columns, mask & there[:, None], other=0.0)
        difference = own - other.to(tl.float32)
        offset = (batch * tokens + n)[:, None] * channels + c[None, :]
        from_offset = (batch * tokens + reader)[:, None] * channels + c[None, :]
        from_mask = mask & read[:, None]
        total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
        sum0, total = _take_gradient(g0, mix, difference, sum0, total, offset, from_offset, c, c_mask, mask, from_mask)
        if OUTPUTS > 1:
            sum1, total = _take_gradient(
                g1, mix + channels, difference, sum1, total, offset, from_offset, c, c_mask, mask, from_mask
            )
        if OUTPUTS > 2:
            sum2, total = _take_gradient(
                g2, mix + 2 * channels, difference, sum2, total, offset, from_offset, c, c_mask, mask, from_mask
            )
        tl.store(gx + offset, total, mask)
    row = partials + (batch * tl.num_programs(1) + tl.program_id(1)) * OUTPUTS * channels + c
    tl.store(row, tl.sum(sum0, 0), c_mask)
    if OUTPUTS > 1:
        tl.store(row + channels, tl.sum(sum1, 0), c_mask)
    if OUTPUTS > 2:
        tl.store(row + 2 * channels, tl.sum(sum2, 0), c_mask)


class _Plan:
    """Grid and geometry of a launch over `x: [B, N, C]`."""

    def __init__(self, x: Tensor, grid: Grid, shift: int, gamma: float, tile: int, tiles: int) -> None:
        batch, tokens, channels = x.shape
        cuts = channel_cuts(channels, gamma)
        widest = max(cuts[1], channels - cuts[4], *(cuts[i + 1] - cuts[i] for i in range(4)))
        self.block_c = min(128, triton.next_power_of_2(widest))
        self.block_n = min(max(tile // self.block_c, 1), triton.next_power_of_2(tokens))
        blocks = triton.cdiv(widest, self.block_c)
        groups = 5 if cuts[4] < channels else 4
        self.programs = (groups * blocks, triton.cdiv(tokens, self.block_n * tiles), batch)
        self.geometry = (*x.stride(), tokens, channels, grid.lead, grid.height, grid.width, shift, *cuts[1:], blocks)

    def launch(self, kernel: Any, *tensors: Tensor, **constants: int) -> None:
        kernel[self.programs](
            *tensors, *self.geometry, BLOCK_N=self.block_n, BLOCK_C=self.block_c, **constants, **LAUNCH_OPTIONS
        )


def shifted(x: Tensor, grid: Grid, shift: int, gamma: float) -> Tensor:
    """`x` `[B, N, C]`, any strides, with every channel group taken from its neighbour; negative `shift`: adjoint."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _Plan(x, grid, shift, gamma, _FORWARD_TILE, 1).launch(_forward_kernel, x, x, out, out, out, OUTPUTS=0)
    return out


def mix_forward(x: Tensor, mix: Tensor, grid: Grid, shift: int, gamma: float) -> list[Tensor]:
    """`mix[m] * x + (1 - mix[m]) * shifted(x)` for each row of `mix` `[M, C]`, float32, in the dtype of `x`."""
    plan = _Plan(x, grid, shift, gamma, _FORWARD_TILE, 1)
    outs = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(mix.shape[0])]
    for first in range(0, len(outs), _OUTPUTS_AT_ONCE):
        some = outs[first : first + _OUTPUTS_AT_ONCE]
        plan.launch(_forward_kernel, x, mix[first:], *_three(some), OUTPUTS=len(some))
    return outs


def mix_backward(
    x: Tensor, mix: Tensor, grads: list[Tensor], grid: Grid, shift: int, gamma: float
) -> tuple[Tensor, Tensor]:
    """Gradients for `x`, in its dtype, and for `mix`, float32; `grads` are contiguous."""
    plan = _Plan(x, grid, shift, gamma, _BACKWARD_TILE, _BACKWARD_TILES)
    gxs, gmixes = [], []
    for first in range(0, len(grads), _OUTPUTS_AT_ONCE):
        some = grads[first : first + _OUTPUTS_AT_ONCE]
        single = len(grads) <= _OUTPUTS_AT_ONCE
        gx = torch.empty(x.shape, dtype=x.dtype if single else torch.float32, device=x.device)
        partials = torch.empty(plan.programs[1] * x.shape[0], len(some), x.shape[2], device=x.device)
        plan.launch(
            _backward_kernel, x, mix[first:], *_three(some), gx, partials, OUTPUTS=len(some), TILES=_BACKWARD_TILES
        )
        gxs.append(gx)
        gmixes.append(partials.sum(0))
    total = gxs[0] if len(gxs) == 1 else torch.stack(gxs).sum(0).to(x.dtype)
    return total, torch.cat(gmixes)


def _three(tensors: list[Tensor]) -> list[Tensor]:
    """Pads to three arguments; the kernel does not look at the repeated ones."""
    return [tensors[min(i, len(tensors) - 1)] for i in range(_OUTPUTS_AT_ONCE)]
