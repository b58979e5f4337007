"""Memory layouts of sequences `[B, D, L]`, which come contiguous or as transposed `[B, L, D]`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def is_time_major(x: Tensor) -> bool:
    """Whether the channels of `[B, D, L]` are neighbours in memory, as in a transposed `[B, L, D]`."""
    return x.stride(1) == 1 and x.stride(2) != 1


def new_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An empty `[B, D, L]`, contiguous, or a transposed `[B, L, D]` where `x` is one."""
    batch, channels, tokens = x.shape
    if is_time_major(x):
        return torch.empty((batch, tokens, channels), dtype=dtype or x.dtype, device=x.device).transpose(1, 2)
    return torch.empty((batch, channels, tokens), dtype=dtype or x.dtype, device=x.device)


def placed(x: Tensor, like: Tensor) -> Tensor:
    """`x` in the dtype and the memory layout of `like`."""
    target = new_like(like)
    if x.dtype == target.dtype and x.stride() == target.stride():
        return x
    return target.copy_(x)


def on_device(x: Tensor) -> AbstractContextManager[Any]:
    """Makes the GPU of `x` the current one; nothing for the interpreter's CPU tensors."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
