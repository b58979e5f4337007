"""Atrous scan by its index table."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .layout import sub_grid_size, sub_grids


def scan_order(height: int, width: int, step: int) -> Tensor:
    """`[step**2, L]`: the pixel that each sub-grid visits at each step; `H * W` where it is outside the map."""
    rows, columns = sub_grid_size(height, width, step)
    pixels = torch.arange(height * width).view(height, width)
    padded = F.pad(pixels, (0, columns * step - width, 0, rows * step - height), value=height * width)
    orders = []
    for top, left, by_columns in sub_grids(step):
        grid = padded[top::step, left::step]
        orders.append((grid.T if by_columns else grid).flatten())
    return torch.stack(orders)


def scan(x: Tensor, step: int) -> Tensor:
    """`[B, C, H, W]` to `[B, step**2, C, L]`."""
    height, width = x.shape[2:]
    order = scan_order(height, width, step).to(x.device)
    return F.pad(x.flatten(2), (0, 1))[:, :, order].transpose(1, 2).contiguous()


def merge(y: Tensor, height: int, width: int, step: int) -> Tensor:
    """`[B, step**2, C, L]` to `[B, C, H * W]`."""
    out = y.new_empty(y.shape[0], y.shape[2], height * width + 1)
    for sequence, order in zip(y.unbind(1), scan_order(height, width, step).to(y.device), strict=True):
        out[:, :, order] = sequence
    return out[:, :, :-1].contiguous()
