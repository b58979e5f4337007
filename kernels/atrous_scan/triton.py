"""Atrous scan in Triton: one launch for all sub-grids, a tile of one sub-grid of one plane per program."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..triton_tools import LAUNCH_OPTIONS
from .layout import sub_grid_size

TILE = 32


@triton.jit
def move_kernel(
    maps, sequences, channels, height, width, rows, columns, step: tl.constexpr, merge: tl.constexpr, tile: tl.constexpr
):
    across = tl.cdiv(columns, tile)
    tiles = tl.cdiv(rows, tile) * across
    group = tl.program_id(0) % (step * step)
    index = tl.program_id(0) // (step * step) % tiles
    plane = (tl.program_id(0) // (step * step) // tiles).to(tl.int64)
    top, left = group % step, group // step
    i = index // across * tile + tl.arange(0, tile)
    j = index % across * tile + tl.arange(0, tile)
    image = maps + plane * height * width
    sequence = sequences + ((plane // channels * (step * step) + group) * channels + plane % channels) * rows * columns
    h, w = (top + i * step)[:, None], (left + j * step)[None, :]
    pixel, mapped = image + h * width + w, (h < height) & (w < width)
    if top % 2 == 0:
        slot, held = sequence + i[:, None] * columns + j[None, :], (i < rows)[:, None] & (j < columns)[None, :]
        if merge:
            tl.store(pixel, tl.load(slot, held), mapped)
        else:
            tl.store(slot, tl.load(pixel, mapped, other=0.0), held)
    else:
        slot, held = sequence + j[:, None] * rows + i[None, :], (j < columns)[:, None] & (i < rows)[None, :]
        if merge:
            tl.store(pixel, tl.trans(tl.load(slot, held)), mapped)
        else:
            tl.store(slot, tl.trans(tl.load(pixel, mapped, other=0.0)), held)


def _launch(maps: Tensor, sequences: Tensor, height: int, width: int, step: int, merge: bool) -> None:
    rows, columns = sub_grid_size(height, width, step)
    batch, groups, channels, _ = sequences.shape
    grid = (batch * channels * groups * triton.cdiv(rows, TILE) * triton.cdiv(columns, TILE),)
    move_kernel[grid](
        maps, sequences, channels, height, width, rows, columns, step=step, merge=merge, tile=TILE, **LAUNCH_OPTIONS
    )


def scan(x: Tensor, step: int) -> Tensor:
    """`[B, C, H, W]` to `[B, step**2, C, L]`."""
    batch, channels, height, width = x.shape
    rows, columns = sub_grid_size(height, width, step)
    out = x.new_empty(batch, step**2, channels, rows * columns)
    _launch(x.contiguous(), out, height, width, step, False)
    return out


def merge(y: Tensor, height: int, width: int, step: int) -> Tensor:
    """`[B, step**2, C, L]` to `[B, C, H * W]`."""
    out = y.new_empty(y.shape[0], y.shape[2], height * width)
    _launch(out, y.contiguous(), height, width, step, True)
    return out
