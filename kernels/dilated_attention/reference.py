"""Dilated attention as one dense softmax, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def seen(tokens: int, segment: int, dilation: int, offsets: Sequence[int]) -> Tensor:
    """`[heads, N, N]`: whether both tokens are of one segment, and both of those that the head takes from it."""
    position = torch.arange(tokens)
    together = position[:, None] // segment == position // segment
    taken = torch.stack([position % segment % dilation == offset % dilation for offset in offsets])
    return together & taken[:, :, None] & taken[:, None, :]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    branches: Sequence[tuple[int, int]],
    offsets: Sequence[int],
    scale: float,
) -> Tensor:
    """Softmax over the keys of all branches, a key in two of them counting twice; zero where a query is in none."""
    counts = sum(seen(q.shape[2], segment, dilation, offsets).double() for segment, dilation in branches)
    counts = torch.as_tensor(counts).to(q.device)
    scores = q.double() @ k.double().mT * scale
    largest = scores.masked_fill(counts == 0, -torch.inf).amax(-1, keepdim=True)
    weights = counts * torch.exp(torch.where(counts > 0, scores - largest, 0.0))
    return ((weights @ v.double()) / weights.sum(-1, keepdim=True).clamp_min(1e-300)).to(v.dtype)
