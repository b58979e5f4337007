"""Q-shift by its table of neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import Grid, Group


def neighbours(grid: Grid, group: Group) -> Tensor:
    """`[H * W]`: the token that each token of the grid takes a group's values from; N where that one is outside."""
    rows, columns = torch.arange(grid.height)[:, None] + group.dy, torch.arange(grid.width) + group.dx
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    return torch.where(inside, grid.lead + rows * grid.width + columns, grid.tokens).flatten()


def shifted(x: Tensor, grid: Grid, groups: list[Group]) -> Tensor:
    """`x` `[B, N, C]` with every channel group taken from its neighbouring token, zero outside the grid."""
    padded = F.pad(x, (0, 0, 0, 1))
    result = x.clone(memory_format=torch.contiguous_format)
    for group in groups:
        source = neighbours(grid, group).to(x.device)
        channels = slice(group.first, group.last)
        result[:, grid.lead : grid.lead + len(source), channels] = padded[:, source, channels]
    return result
