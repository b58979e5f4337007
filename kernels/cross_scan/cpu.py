"""Cross-scan on the CPU: numba, one read and four writes (or the reverse), parallel over the planes of the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiled import kernel
from ..threads import parallel_for

TILE = 32

Array = NDArray[Any]


@kernel
def _scan(first: int, last: int, x: Array, out: Array, channels: int, height: int, width: int) -> None:
    # Unsigned indices spare the test for negative ones, which would keep the loops scalar.
    pixels, across = height * width, np.uintp(width)
    final = np.uintp(pixels - 1)
    for plane in range(first, last):
        source = x[plane]
        row = plane // channels * 4 * channels + plane % channels
        rows, columns = out[row], out[row + channels]
        rows_back, columns_back = out[row + 2 * channels], out[row + 3 * channels]
        for p in range(np.uintp(pixels)):
            rows[p] = source[p]
            rows_back[final - p] = source[p]
        for top in range(0, height, TILE):
            bottom = min(top + TILE, height)
            for left in range(0, width, TILE):
                for w in range(left, min(left + TILE, width)):
                    begin = np.uintp(w * height)
                    for h in range(np.uintp(top), np.uintp(bottom)):
                        columns[begin + h] = source[h * across + np.uintp(w)]
                    for h in range(np.uintp(top), np.uintp(bottom)):
                        columns_back[final - (begin + h)] = columns[begin + h]


@kernel
def _merge(first: int, last: int, y: Array, out: Array, channels: int, height: int, width: int) -> None:
    final = np.uintp(height * width - 1)
    both = np.empty((TILE, TILE), y.dtype)
    for plane in range(first, last):
        total = out[plane]
        row = plane // channels * 4 * channels + plane % channels
        rows, columns = y[row], y[row + channels]
        rows_back, columns_back = y[row + 2 * channels], y[row + 3 * channels]
        for top in range(0, height, TILE):
            bottom = min(top + TILE, height)
            for left in range(0, width, TILE):
                right = min(left + TILE, width)
                for w in range(left, right):
                    begin = np.uintp(w * height)
                    for h in range(np.uintp(top), np.uintp(bottom)):
                        q = begin + h
                        both[w - left, h - np.uintp(top)] = columns[q] + columns_back[final - q]
                for h in range(top, bottom):
                    begin = np.uintp(h * width)
                    for w in range(np.uintp(left), np.uintp(right)):
                        p = begin + w
                        total[p] = (rows[p] + rows_back[final - p]) + both[w - np.uintp(left), h - top]


def _rows(tensor: Tensor, pixels: int) -> Array:
    """Contiguous planes as `[planes, pixels]` in numpy; what is only moved may be of any two-byte type."""
    if tensor.element_size() == 2:
        tensor = tensor.view(torch.int16)
    array: Array = tensor.detach().view(-1, pixels).numpy()
    return array


def scan(x: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, 4, C, H * W]`."""
    batch, channels, height, width = x.shape
    pixels = height * width
    out = x.new_empty(batch, 4, channels, pixels)
    planes = _rows(x.contiguous(), pixels)
    parallel_for(_scan, batch * channels, planes, _rows(out, pixels), channels, height, width)
    return out


def merge(y: Tensor) -> Tensor:
    """`[B, 4, C, H, W]` to `[B, C, H * W]`, half precision added in float32."""
    batch, _, channels, height, width = y.shape
    wide = (y.float() if y.element_size() == 2 else y).contiguous()
    out = wide.new_empty(batch, channels, height * width)
    planes = _rows(out, height * width)
    parallel_for(_merge, batch * channels, _rows(wide, height * width), planes, channels, height, width)
    return out.to(y.dtype)
