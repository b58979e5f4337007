"""Square windows of a token grid, padded with zeros where the grid is no multiple of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .layers import Grid


def to_windows(x: Tensor, grid: Grid, side: int) -> Tensor:
    """Cut the tokens of a grid into windows of `side x side`, row by row; zero tokens fill up below and right.

    Args:
        x: `[B, H * W, C]`, row-major.
        grid: H and W.
        side: Side of a window in tokens.

    Returns:
        `[B * windows, side * side, C]`.
    """
    rows, columns = padded_grid(grid, side)
    x = F.pad(x.unflatten(1, grid), (0, 0, 0, columns - grid[1], 0, rows - grid[0]))
    x = x.unflatten(2, (columns // side, side)).unflatten(1, (rows // side, side)).transpose(2, 3)
    return x.flatten(3, 4).flatten(0, 2)  # [B, rows, columns, side, side, C]


def from_windows(windows: Tensor, grid: Grid, side: int) -> Tensor:
    """Put the windows of `to_windows` back: `[B * windows, side * side, C] -> [B, H * W, C]`."""
    rows, columns = padded_grid(grid, side)
    x = windows.reshape(-1, rows // side, columns // side, side, side, windows.shape[-1]).transpose(2, 3)
    x = x.flatten(3, 4).flatten(1, 2)  # [B, rows, columns, C]
    return x[:, : grid[0], : grid[1]].flatten(1, 2)


def padded_grid(grid: Grid, side: int) -> Grid:
    """The smallest grid of whole windows that holds `grid`."""
    return -(-grid[0] // side) * side, -(-grid[1] // side) * side
