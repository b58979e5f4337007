"""Bi-WKV as the equation says it: a softmax over all tokens per channel, O(T^2), in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ELEMENTS_AT_ONCE = 1 << 24


def _attention(decay: Tensor, bonus: Tensor, k: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Queries `[Q]`, their distances to all tokens `[Q, T, 1]` and weights `[B, Q, T, C]`, some queries at a time."""
    tokens = torch.arange(k.shape[1], device=k.device)
    for query in torch.split(tokens, max(1, _ELEMENTS_AT_ONCE // max(1, k.numel()))):
        distance = (query[:, None] - tokens).abs()[..., None]
        position = torch.where(distance == 0, bonus, (1 - distance) * decay)
        yield query, distance, torch.softmax(position + k[:, None], dim=2)


def forward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Equation 4; float64 whatever the storage, `[B, T, C]` in and out."""
    decay, bonus, k, v = (tensor.double() for tensor in (decay, bonus, k, v))
    return torch.cat([(weights * v[:, None]).sum(2) for _, _, weights in _attention(decay, bonus, k)], dim=1)


def backward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay, bonus, k and v from the output's gradient `g`; float64."""
    decay, bonus, k, v, g = (tensor.double() for tensor in (decay, bonus, k, v, g))
    gdecay, gbonus, gk, gv = (torch.zeros_like(tensor) for tensor in (decay, bonus, k, v))
    for query, distance, weights in _attention(decay, bonus, k):
        weighted = weights * g[:, query, None]
        y = (weights * v[:, None]).sum(2, keepdim=True)
        logits = weighted * (v[:, None] - y)
        gv += weighted.sum(1)
        gk += logits.sum(1)
        gbonus += (logits * (distance == 0)).sum((0, 1, 2))
        gdecay += (logits * (1 - distance) * (distance > 0)).sum((0, 1, 2))
    return gdecay, gbonus, gk, gv
