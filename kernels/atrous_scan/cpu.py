"""Atrous scan on the CPU: numba, one read and one write, parallel over the planes of the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiled import kernel
from ..threads import parallel_for
from .layout import sub_grid_size

TILE = 32

Array = NDArray[Any]


@kernel
def _scan(first: int, last: int, x: Array, out: Array, channels: int, step: int) -> None:
    height, width = x.shape[1], x.shape[2]
    rows, columns = -(-height // step), -(-width // step)
    for plane in range(first, last):
        image = x[plane]
        for group in range(step * step):
            top, left = group % step, group // step
            inner = (height - top + step - 1) // step
            across = (width - left + step - 1) // step
            target = out[(plane // channels * step * step + group) * channels + plane % channels]
            if inner < rows or across < columns:
                target[:] = 0
            if top % 2 == 0:
                for i in range(inner):
                    for j in range(across):
                        target[np.uintp(i * columns + j)] = image[np.uintp(top + i * step), np.uintp(left + j * step)]
                continue
            for start in range(0, inner, TILE):
                for j in range(across):
                    for i in range(start, min(start + TILE, inner)):
                        target[np.uintp(j * rows + i)] = image[np.uintp(top + i * step), np.uintp(left + j * step)]


@kernel
def _merge(first: int, last: int, y: Array, out: Array, channels: int, step: int) -> None:
    height, width = out.shape[1], out.shape[2]
    rows, columns = -(-height // step), -(-width // step)
    for plane in range(first, last):
        image = out[plane]
        for group in range(step * step):
            top, left = group % step, group // step
            inner = (height - top + step - 1) // step
            across = (width - left + step - 1) // step
            source = y[(plane // channels * step * step + group) * channels + plane % channels]
            if top % 2 == 0:
                for i in range(inner):
                    for j in range(across):
                        image[np.uintp(top + i * step), np.uintp(left + j * step)] = source[np.uintp(i * columns + j)]
                continue
            for start in range(0, across, TILE):
                for i in range(inner):
                    for j in range(start, min(start + TILE, across)):
                        image[np.uintp(top + i * step), np.uintp(left + j * step)] = source[np.uintp(j * rows + i)]


def _planes(tensor: Tensor, *shape: int) -> Array:
    """Contiguous planes in numpy; what is only moved may be of any two-byte type."""
    if tensor.element_size() == 2:
        tensor = tensor.view(torch.int16)
    array: Array = tensor.detach().view(-1, *shape).numpy()
    return array


def scan(x: Tensor, step: int) -> Tensor:
    """`[B, C, H, W]` to `[B, step**2, C, L]`."""
    batch, channels, height, width = x.shape
    rows, columns = sub_grid_size(height, width, step)
    out = x.new_empty(batch, step**2, channels, rows * columns)
    maps, sequences = _planes(x.contiguous(), height, width), _planes(out, rows * columns)
    parallel_for(_scan, batch * channels, maps, sequences, channels, step)
    return out


def merge(y: Tensor, height: int, width: int, step: int) -> Tensor:
    """`[B, step**2, C, L]` to `[B, C, H * W]`."""
    batch, _, channels, length = y.shape
    out = y.new_empty(batch, channels, height * width)
    maps, sequences = _planes(out, height, width), _planes(y.contiguous(), length)
    parallel_for(_merge, batch * channels, sequences, maps, channels, step)
    return out
