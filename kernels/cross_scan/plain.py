"""Cross-scan in plain PyTorch, on any device and in any dtype."""

from __future__ import annotations

import torch
from torch import Tensor


def scan(x: Tensor) -> Tensor:
    """`[B, C, H, W]` to `[B, 4, C, H * W]`."""
    batch, channels, height, width = x.shape
    out = x.new_empty(batch, 4, channels, height * width)
    out[:, 0].view(x.shape).copy_(x)
    out[:, 1].view(batch, channels, width, height).copy_(x.transpose(2, 3))
    out[:, 2:] = out[:, :2].flip(-1)
    return out


def merge(y: Tensor) -> Tensor:
    """`[B, 4, C, H, W]` to `[B, C, H * W]`, half precision added in float32."""
    batch, _, channels, height, width = y.shape
    sequences = y.flatten(3)
    if y.dtype in (torch.float16, torch.bfloat16):
        sequences = sequences.float()
    rows, columns = (sequences[:, :2] + sequences[:, 2:].flip(-1)).unbind(1)
    total = rows + columns.view(batch, channels, width, height).transpose(2, 3).flatten(2)
    return total.to(y.dtype)
