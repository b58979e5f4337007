"""Cross-scan: the four orders in which VMamba reads a map."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from .op import cross_merge_op, cross_scan_op

__all__ = ["cross_merge", "cross_scan"]

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_BACKENDS = (
    Backend("cpu", devices=("cpu",), dtypes=_FLOATS, module="numba"),
    triton_backend(dtypes=_FLOATS),
    Backend("torch"),
    Backend("reference"),
)
register_operator("cross_scan", _BACKENDS)
register_operator("cross_merge", _BACKENDS)


def cross_scan(x: Tensor, *, backend: str = "auto") -> Tensor:
    """Reads a map in VMamba's four orders: row by row, column by column, and both backwards.

    Its gradient is `cross_merge`, and the other way round.

    Args:
        x: `[B, C, H, W]`.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, 4, C, H * W]`, contiguous, in the dtype of `x`.

    Raises:
        UsageError: `x` is not `[B, C, H, W]` with at least one pixel.
        BackendError: The backend asked for cannot serve the call.
    """
    if x.ndim != 4 or 0 in x.shape:
        raise UsageError(f"x: expected [B, C, H, W], no dimension empty, got {list(x.shape)}")
    result: Tensor = cross_scan_op(x, resolve_backend("cross_scan", x.device, x.dtype, backend))
    return result


def cross_merge(y: Tensor, *, backend: str = "auto") -> Tensor:
    """Adds up, for each pixel, what the four sequences of `cross_scan` hold for it.

    `cross_merge` of a scanned map is four times the map. Sums of half-precision values are made in float32.

    Args:
        y: `[B, 4, C, H, W]`: sequences of H * W steps in the order of each scan, cut into H times W.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, C, H * W]`, row by row, contiguous, in the dtype of `y`.

    Raises:
        UsageError: `y` is not `[B, 4, C, H, W]` with at least one pixel.
        BackendError: The backend asked for cannot serve the call.
    """
    if y.ndim != 5 or y.shape[1] != 4 or 0 in y.shape:
        raise UsageError(f"y: expected [B, 4, C, H, W], no dimension empty, got {list(y.shape)}")
    result: Tensor = cross_merge_op(y, resolve_backend("cross_merge", y.device, y.dtype, backend))
    return result
