"""Checks of the arguments that all attention operators take."""

from __future__ import annotations

from torch import Tensor

from ..errors import UsageError


def check_attention(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raises a `UsageError` unless q, k `[B, heads, N, E]` and v `[B, heads, N, F]` fit each other."""
    if q.ndim != 4 or 0 in q.shape:
        raise UsageError(f"q: expected [B, heads, N, E], no dimension empty, got {list(q.shape)}")
    if k.shape != q.shape:
        raise UsageError(f"k: expected the shape of q, {list(q.shape)}, got {list(k.shape)}")
    if v.ndim != 4 or v.shape[:3] != q.shape[:3] or v.shape[3] == 0:
        raise UsageError(f"v: expected {[*q.shape[:3]]} and a width, got {list(v.shape)}")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not tensor.is_floating_point() or tensor.dtype != q.dtype:
            raise UsageError(f"{name}: expected floating-point tensors of one dtype, got {tensor.dtype}")
        if tensor.device != q.device:
            raise UsageError(f"{name}: expected a tensor on {q.device}, where q is, got one on {tensor.device}")
