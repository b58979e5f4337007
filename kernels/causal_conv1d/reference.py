"""The causal depthwise convolution as its formula says it: one shifted copy of the tokens for each tap, in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Gradients = tuple[Tensor, Tensor, Tensor | None]


def _shifted(x: Tensor, distance: int) -> Tensor:
    """The token `distance` before each one along the last dimension (after, if negative), zero beyond the ends."""
    distance = max(-x.shape[-1], min(x.shape[-1], distance))
    return F.pad(x, (distance, -distance))


def _distances(width: int, reverse: bool) -> list[int]:
    """How far back each tap looks; the last is the token itself."""
    return [-(width - 1 - tap) if reverse else width - 1 - tap for tap in range(width)]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, reverse: bool) -> Tensor:
    distances = _distances(weight.shape[1], reverse)
    y = torch.stack([w[:, None] * _shifted(x, s) for w, s in zip(weight.T, distances, strict=True)]).sum(0)
    return y if bias is None else y + bias[:, None]


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """`[B, D, L]`, float64 whatever the storage."""
    y = _linear(x.double(), weight.double(), None if bias is None else bias.double(), reverse)
    return F.silu(y) if silu else y


def backward(x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool) -> Gradients:
    """Gradients for x, weight and bias from that of the output; float64."""
    x, weight, g = x.double(), weight.double(), g.double()
    if silu:
        y = _linear(x, weight, None if bias is None else bias.double(), reverse)
        gate = torch.sigmoid(y)
        g = g * gate * (1 + y * (1 - gate))
    distances = _distances(weight.shape[1], reverse)
    gx = torch.stack([w[:, None] * _shifted(g, -s) for w, s in zip(weight.T, distances, strict=True)]).sum(0)
    gweight = torch.stack([(_shifted(x, s) * g).sum((0, 2)) for s in distances], 1)
    return gx, gweight, None if bias is None else g.sum((0, 2))
