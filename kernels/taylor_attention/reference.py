"""Taylor linear attention as the quadratic form it equals, in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, eps: float) -> Tensor:
    """Weights `1 + s + s**2 / 2` with `s = q.k / sqrt(E)`, normalised; `[B, heads, N, F]`."""
    scores = q.double() @ k.double().mT / q.shape[3] ** 0.5
    weights = 1 + scores + scores.square() / 2
    weights = weights.tril() if causal else weights
    return ((weights @ v.double()) / (weights.sum(-1, keepdim=True) + eps)).to(v.dtype)


def features(x: Tensor) -> Tensor:
    """BASED's own feature map with `1 + E + E**2` dimensions, which counts every mixed product twice."""
    width = x.shape[-1]
    squares = (x[..., :, None] * x[..., None, :]).flatten(-2) / (2 * width) ** 0.5
    return torch.cat((torch.ones_like(x[..., :1]), x / width**0.25, squares), dim=-1)
