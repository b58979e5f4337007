"""Q-shift and its mix in plain PyTorch, on any device and in any dtype."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .layout import Grid, Group

Shift = Callable[[Tensor, Grid, list[Group]], Tensor]


def shifted(x: Tensor, grid: Grid, groups: list[Group]) -> Tensor:
    """`x` `[B, N, C]` with every channel group taken from its neighbouring token, zero outside the grid."""
    height, width, lead, _ = grid
    end = lead + height * width
    source = x[:, lead:end].reshape(x.shape[0], height, width, x.shape[2])
    moved = torch.zeros_like(x, memory_format=torch.contiguous_format)
    moved[:, :lead], moved[:, end:] = x[:, :lead], x[:, end:]
    result = moved[:, lead:end].view_as(source)
    for first, last, dy, dx in groups:
        if abs(dy) >= height or abs(dx) >= width:
            continue
        rows = slice(max(0, -dy), height - max(0, dy))
        columns = slice(max(0, -dx), width - max(0, dx))
        from_rows = slice(max(0, dy), height - max(0, -dy))
        from_columns = slice(max(0, dx), width - max(0, -dx))
        result[:, rows, columns, first:last] = source[:, from_rows, from_columns, first:last]
    return moved


def mix_forward(x: Tensor, mix: Tensor, grid: Grid, groups: list[Group], shift: Shift = shifted) -> list[Tensor]:
    """`mix[m] * x + (1 - mix[m]) * shift(x)` for each row of `mix` `[M, C]`."""
    neighbour = shift(x, grid, groups)
    return [row * x + (1 - row) * neighbour for row in mix]


def mix_backward(
    x: Tensor,
    mix: Tensor,
    grads: list[Tensor],
    grid: Grid,
    groups: list[Group],
    adjoint: list[Group],
    shift: Shift = shifted,
) -> tuple[Tensor, Tensor]:
    """Gradients for `x` and `mix`."""
    difference = x - shift(x, grid, groups)
    to_neighbour = sum(((1 - row) * g for row, g in zip(mix, grads, strict=True)), torch.zeros_like(x))
    gx = shift(to_neighbour, grid, adjoint)
    for row, g in zip(mix, grads, strict=True):
        gx = gx + row * g
    gmix = torch.stack([(g * difference).sum((0, 1)) for g in grads])
    return gx, gmix
