"""Cross-scan by its index table."""

from __future__ import annotations

import torch
from torch import Tensor


def scan_order(height: int, width: int) -> Tensor:
    """`[4, H * W]`: the pixel (`row * W + column`) that each of the four directions visits at each step."""
    rows = torch.arange(height * width)
    columns = rows.view(height, width).T.flatten()
    return torch.stack((rows, columns, rows.flip(0), columns.flip(0)))


def scan(x: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, 4, C, H * W]`."""
    order = scan_order(*x.shape[2:]).to(x.device)
    return x.flatten(2)[:, :, order].transpose(1, 2).contiguous()


def merge(y: Tensor) -> Tensor:
    """`[B, 4, C, H, W]` to `[B, C, H * W]`: what the four directions found for a pixel, added in float64."""
    total = torch.zeros_like(y[:, 0], dtype=torch.float64).flatten(2)
    for direction, order in zip(y.flatten(3).unbind(1), scan_order(*y.shape[3:]).to(y.device), strict=True):
        total.index_add_(2, order, direction.double())
    return total.to(y.dtype)
