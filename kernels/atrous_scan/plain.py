"""Atrous scan in plain PyTorch, on any device and in any dtype: a strided copy for each sub-grid."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from .layout import sub_grid_size, sub_grids


def _pairs(maps: Tensor, sequences: Tensor, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The pixels of each sub-grid in the maps and in the sequences, as views of one shape."""
    height, width = maps.shape[2:]
    rows, columns = sub_grid_size(height, width, step)
    for index, (top, left, by_columns) in enumerate(sub_grids(step)):
        pixels, sequence = maps[:, :, top::step, left::step], sequences[:, index]
        grid = sequence.unflatten(2, (columns, rows)).mT if by_columns else sequence.unflatten(2, (rows, columns))
        yield pixels, grid[:, :, : pixels.shape[2], : pixels.shape[3]]


def scan(x: Tensor, step: int) -> Tensor:
    """`[B, C, H, W]` to `[B, step**2, C, L]`."""
    batch, channels, height, width = x.shape
    rows, columns = sub_grid_size(height, width, step)
    padded = rows * columns * step**2 != height * width
    shape = (batch, step**2, channels, rows * columns)
    out = x.new_zeros(shape) if padded else x.new_empty(shape)
    for pixels, grid in _pairs(x, out, step):
        grid.copy_(pixels)
    return out


def merge(y: Tensor, height: int, width: int, step: int) -> Tensor:
    """`[B, step**2, C, L]` to `[B, C, H * W]`."""
    out = y.new_empty(y.shape[0], y.shape[2], height, width)
    for pixels, grid in _pairs(out, y, step):
        pixels.copy_(grid)
    return out.flatten(2)
