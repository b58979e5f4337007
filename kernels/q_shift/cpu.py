"""Q-shift and its mix on the CPU: numba, float32, one read and M writes, parallel over blocks of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiled import inlined, kernel
from ..threads import parallel_for
from .layout import Grid, Group

BLOCK = 32

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

Array = NDArray[Any]


@inlined
def _neighbour(row: int, grid: Grid, dy: int, dx: int) -> int:
    """Row of the token (dy, dx) away in the same image, -1 where there is none, its own for tokens that stay."""
    height, width, lead, tokens = grid
    token = row % tokens - lead
    if token < 0 or token >= height * width:
        return row
    y, x = token // width + dy, token % width + dx
    return row + dy * width + dx if 0 <= y < height and 0 <= x < width else -1


@kernel
def _mix_group(
    x: Array, mix: Array, out: Array, rows: tuple[int, int], grid: Grid, group: tuple[int, int, int, int]
) -> None:
    first, last, dy, dx = group
    # Unsigned indices spare the test for negative ones, which would keep the loops scalar.
    offset = np.uintp(first)
    for row in range(rows[0], rows[1]):
        source = _neighbour(row, grid, dy, dx)
        if source >= 0:
            for i in range(last - first):
                c = offset + np.uintp(i)
                neighbour = x[source, c]
                out[row, c] = neighbour + mix[c] * (x[row, c] - neighbour)
        else:
            for i in range(last - first):
                c = offset + np.uintp(i)
                out[row, c] = mix[c] * x[row, c]


@kernel
def _mix(begin: int, end: int, x: Array, mix: Array, outs: tuple[Array, ...], groups: Array, grid: Grid) -> None:
    for block in range(begin, end):
        rows = (block * BLOCK, min((block + 1) * BLOCK, x.shape[0]))
        for i in range(groups.shape[0]):
            group = (groups[i, 0], groups[i, 1], groups[i, 2], groups[i, 3])
            for m in range(len(outs)):
                _mix_group(x, mix[m], outs[m], rows, grid, group)


@kernel
def _gradient_group(
    x: Array,
    mix: Array,
    g: Array,
    gx: Array,
    partial: Array,
    rows: tuple[int, int],
    grid: Grid,
    group: tuple[int, int, int, int],
) -> None:
    first, last, dy, dx = group
    offset = np.uintp(first)
    for row in range(rows[0], rows[1]):
        source = _neighbour(row, grid, dy, dx)
        if source >= 0:
            for i in range(last - first):
                c = offset + np.uintp(i)
                partial[c] += g[row, c] * (x[row, c] - x[source, c])
        else:
            for i in range(last - first):
                c = offset + np.uintp(i)
                partial[c] += g[row, c] * x[row, c]
        target = _neighbour(row, grid, -dy, -dx)
        if target >= 0:
            for i in range(last - first):
                c = offset + np.uintp(i)
                gx[row, c] += mix[c] * g[row, c] + (_ONE - mix[c]) * g[target, c]
        else:
            for i in range(last - first):
                c = offset + np.uintp(i)
                gx[row, c] += mix[c] * g[row, c]


@kernel
def _mix_gradient(
    begin: int,
    end: int,
    x: Array,
    mix: Array,
    grads: tuple[Array, ...],
    groups: Array,
    grid: Grid,
    gx: Array,
    partials: Array,
) -> None:
    for block in range(begin, end):
        rows = (block * BLOCK, min((block + 1) * BLOCK, x.shape[0]))
        partials[block] = _ZERO
        gx[rows[0] : rows[1]] = _ZERO
        for i in range(groups.shape[0]):
            group = (groups[i, 0], groups[i, 1], groups[i, 2], groups[i, 3])
            for m in range(len(grads)):
                _gradient_group(x, mix[m], grads[m], gx, partials[block, m], rows, grid, group)


@kernel
def _shift_group(x: Array, out: Array, rows: tuple[int, int], grid: Grid, group: tuple[int, int, int, int]) -> None:
    first, last, dy, dx = group
    offset = np.uintp(first)
    for row in range(rows[0], rows[1]):
        source = _neighbour(row, grid, dy, dx)
        if source >= 0:
            for i in range(last - first):
                c = offset + np.uintp(i)
                out[row, c] = x[source, c]
        else:
            for i in range(last - first):
                out[row, offset + np.uintp(i)] = _ZERO


@kernel
def _shift(begin: int, end: int, x: Array, out: Array, groups: Array, grid: Grid) -> None:
    for block in range(begin, end):
        rows = (block * BLOCK, min((block + 1) * BLOCK, x.shape[0]))
        for i in range(groups.shape[0]):
            _shift_group(x, out, rows, grid, (groups[i, 0], groups[i, 1], groups[i, 2], groups[i, 3]))


def _rows(tensor: Tensor) -> Array:
    array: Array = tensor.detach().reshape(-1, tensor.shape[-1]).numpy()
    return array


def shifted(x: Tensor, grid: Grid, groups: list[Group]) -> Tensor:
    """`x` `[B, N, C]`, contiguous float32, with every channel group taken from its neighbouring token."""
    out = torch.empty_like(x)
    rows = _rows(x)
    parallel_for(_shift, -(-rows.shape[0] // BLOCK), rows, _rows(out), np.array(groups), grid)
    return out


def mix_forward(x: Tensor, mix: Tensor, grid: Grid, groups: list[Group]) -> list[Tensor]:
    """`mix[m] * x + (1 - mix[m]) * shifted(x)` for each row of `mix` `[M, C]`; contiguous float32."""
    outs = [torch.empty_like(x) for _ in mix]
    rows = _rows(x)
    parallel_for(
        _mix, -(-rows.shape[0] // BLOCK), rows, mix.detach().numpy(), tuple(map(_rows, outs)), np.array(groups), grid
    )
    return outs


def mix_backward(x: Tensor, mix: Tensor, grads: list[Tensor], grid: Grid, groups: list[Group]) -> tuple[Tensor, Tensor]:
    """Gradients for `x` and `mix`; contiguous float32."""
    gx = torch.empty_like(x)
    rows = _rows(x)
    blocks = -(-rows.shape[0] // BLOCK)
    partials = torch.empty(blocks, *mix.shape)
    parallel_for(
        _mix_gradient,
        blocks,
        rows,
        mix.detach().numpy(),
        tuple(map(_rows, grads)),
        np.array(groups),
        grid,
        _rows(gx),
        partials.numpy(),
    )
    return gx, partials.sum(0, dtype=torch.float64).float()
