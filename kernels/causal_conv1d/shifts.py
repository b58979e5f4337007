"""The causal convolution in plain PyTorch: a multiply-add over all tokens for each tap; on CPUs that beats `conv1d`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .reference import Gradients


def _add_shifted(y: Tensor, x: Tensor, weight: Tensor, distance: int) -> None:
    """`y_t += weight * x_{t - distance}` where that token exists."""
    length = y.shape[-1] - abs(distance)
    if length <= 0:
        return
    source, target = max(0, -distance), max(0, distance)
    y[..., target : target + length].addcmul_(x[..., source : source + length], weight[:, None])


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, reverse: bool) -> Tensor:
    width = weight.shape[1]
    y = x * weight[:, -1:]
    for tap in range(width - 1):
        distance = width - 1 - tap
        _add_shifted(y, x, weight[:, tap], -distance if reverse else distance)
    return y if bias is None else y.add_(bias[:, None])


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """`[B, D, L]`, in the inputs' common dtype."""
    y = _linear(x, weight, bias, reverse)
    return F.silu(y, inplace=True) if silu else y


def backward(x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool) -> Gradients:
    """Gradients for x, weight and bias from that of the output."""
    if silu:
        y = _linear(x, weight, bias, reverse)
        gate = torch.sigmoid(y)
        g = g * gate * (1 + y * (1 - gate))
    width, tokens = weight.shape[1], x.shape[2]
    gx = _linear(g, weight, None, not reverse)
    gweight = torch.zeros_like(weight)
    for tap in range(width):
        distance = width - 1 - tap
        kept = tokens - distance
        if kept > 0:
            early, late = slice(0, kept), slice(distance, tokens)
            sources, targets = (late, early) if reverse else (early, late)
            gweight[:, tap] = torch.einsum("bdl,bdl->d", x[..., sources], g[..., targets])
    return gx, gweight, None if bias is None else g.sum((0, 2))
