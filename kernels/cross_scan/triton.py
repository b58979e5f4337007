"""Cross-scan in Triton: one read and four writes (or the reverse), a tile of one plane per program."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..triton_tools import LAUNCH_OPTIONS

TILE = 32


@triton.jit
def _tile_of(height, width, tile: tl.constexpr):
    """Plane of the program, which pixels of its tile exist, and their places row by row and column by column."""
    across = tl.cdiv(width, tile)
    tiles = tl.cdiv(height, tile) * across
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    index = tl.program_id(0) % tiles
    h = (index // across * tile + tl.arange(0, tile))[:, None]
    w = (index % across * tile + tl.arange(0, tile))[None, :]
    return plane, (h < height) & (w < width), h * width + w, tl.trans(w * height + h)


@triton.jit
def scan_kernel(x, out, channels, height, width, tile: tl.constexpr):
    plane, inside, p, q = _tile_of(height, width, tile)
    pixels = height * width
    step = channels.to(tl.int64) * pixels
    target = out + plane // channels * 4 * step + plane % channels * pixels
    value = tl.load(x + plane * pixels + p, inside)
    turned = tl.trans(value)
    there = tl.trans(inside)
    tl.store(target + p, value, inside)
    tl.store(target + step + q, turned, there)
    tl.store(target + 2 * step + (pixels - 1 - p), value, inside)
    tl.store(target + 3 * step + (pixels - 1 - q), turned, there)


@triton.jit
def merge_kernel(y, out, channels, height, width, wide: tl.constexpr, tile: tl.constexpr):
    plane, inside, p, q = _tile_of(height, width, tile)
    pixels = height * width
    there = tl.trans(inside)
    step = channels.to(tl.int64) * pixels
    source = y + plane // channels * 4 * step + plane % channels * pixels
    rows = tl.load(source + p, inside).to(wide) + tl.load(source + 2 * step + (pixels - 1 - p), inside).to(wide)
    columns = tl.load(source + step + q, there).to(wide) + tl.load(source + 3 * step + (pixels - 1 - q), there).to(wide)
    tl.store(out + plane * pixels + p, rows + tl.trans(columns), inside)


def _programs(planes: int, height: int, width: int) -> tuple[int]:
    return (planes * triton.cdiv(height, TILE) * triton.cdiv(width, TILE),)


def scan(x: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, 4, C, H * W]`."""
    batch, channels, height, width = x.shape
    out = x.new_empty(batch, 4, channels, height * width)
    grid = _programs(batch * channels, height, width)
    scan_kernel[grid](x.contiguous(), out, channels, height, width, tile=TILE, **LAUNCH_OPTIONS)
    return out


def merge(y: Tensor) -> Tensor:
    """`[B, 4, C, H, W]` to `[B, C, H * W]`, half precision added in float32."""
    batch, _, channels, height, width = y.shape
    out = y.new_empty(batch, channels, height * width)
    wide = tl.float64 if y.dtype == torch.float64 else tl.float32
    grid = _programs(batch * channels, height, width)
    merge_kernel[grid](y.contiguous(), out, channels, height, width, wide=wide, tile=TILE, **LAUNCH_OPTIONS)
    return out
