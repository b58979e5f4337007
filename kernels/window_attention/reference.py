"""Local attention by dense masks, in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> Tensor:
    """Softmax attention over the keys that `seen` `[N, N]` allows each query; `[B, heads, N, E]` in and out."""
    scores = q.double() @ k.double().mT * scale
    weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1)
    return (weights @ v.double()).to(v.dtype)


def sliding_mask(tokens: int, before: int, after: int) -> Tensor:
    """`[N, N]`: token j is seen from i if it is at most `before` tokens earlier and `after` later."""
    position = torch.arange(tokens)
    distance = position[:, None] - position
    return (distance <= before) & (distance >= -after)


def window_mask(grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """`[N, N]`: tokens that lie in the same window."""
    row, column = torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij")
    numbers = [
        ((place + offset) // size).flatten() for place, size, offset in zip((row, column), window, shift, strict=True)
    ]
    return (numbers[0][:, None] == numbers[0]) & (numbers[1][:, None] == numbers[1])
