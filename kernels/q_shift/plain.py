"""Q-shift and its mix in plain PyTorch, on any device and in any dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import Group


def shifted(x: Tensor, grid: tuple[int, int], groups: list[Group]) -> Tensor:
    """`x` `[B, N, C]` with every channel group taken from its neighbouring token, zero outside the grid."""
    height, width = grid
    source = x.reshape(x.shape[0], height, width, x.shape[2])
    result = torch.zeros_like(source, memory_format=torch.contiguous_format)
    for first, last, dy, dx in groups:
        if abs(dy) >= height or abs(dx) >= width:
            continue
        rows = slice(max(0, -dy), height - max(0, dy))
        columns = slice(max(0, -dx), width - max(0, dx))
        from_rows = slice(max(0, dy), height - max(0, -dy))
        from_columns = slice(max(0, dx), width - max(0, -dx))
        result[:, rows, columns, first:last] = source[:, from_rows, from_columns, first:last]
    return result.view(x.shape)


def mix_forward(x: Tensor, mix: Tensor, grid: tuple[int, int], groups: list[Group]) -> list[Tensor]:
    """`mix[m] * x + (1 - mix[m]) * shifted(x)` for each row of `mix` `[M, C]`."""
    neighbour = shifted(x, grid, groups)
    return [row * x + (1 - row) * neighbour for row in mix]


def mix_backward(
    x: Tensor, mix: Tensor, grads: list[Tensor], grid: tuple[int, int], groups: list[Group], adjoint: list[Group]
) -> tuple[Tensor, Tensor]:
    """Gradients for `x` and `mix`."""
    difference = x - shifted(x, grid, groups)
    to_neighbour = sum(((1 - row) * g for row, g in zip(mix, grads, strict=True)), torch.zeros_like(x))
    gx = shifted(to_neighbour, grid, adjoint)
    for row, g in zip(mix, grads, strict=True):
        gx = gx + row * g
    gmix = torch.stack([(g * difference).sum((0, 1)) for g in grads])
    return gx, gmix
