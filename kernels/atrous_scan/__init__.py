"""Atrous scan: EfficientVMamba reads each pixel once, in interleaved sub-grids."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from .layout import sub_grid_size
from .op import atrous_merge_op, atrous_scan_op

__all__ = ["atrous_merge", "atrous_scan"]

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_BACKENDS = (
    Backend("cpu", devices=("cpu",), dtypes=_FLOATS, module="numba"),
    triton_backend(dtypes=_FLOATS),
    Backend("torch"),
    Backend("reference"),
)
register_operator("atrous_scan", _BACKENDS)
register_operator("atrous_merge", _BACKENDS)


def atrous_scan(x: Tensor, *, step: int = 2, backend: str = "auto") -> Tensor:
    """Cuts a map into `step * step` interleaved sub-grids and reads each of them once, forward.

    Sub-grid `left * step + top` has the pixels (top + i * step, left + j * step); it is read row by row where `top` is
    even and column by column where it is odd. Sizes that `step` does not divide are padded with zeros at the bottom and
    on the right. Its gradient is `atrous_merge`, and the other way round. EfficientVMamba's "efficient scan" for
    `step=2`, the only step that its code has; other steps go on in the same manner.

    Args:
        x: `[B, C, H, W]`.
        step: Distance of neighbours in a sub-grid.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, step**2, C, ceil(H / step) * ceil(W / step)]`, contiguous, in the dtype of `x`.

    Raises:
        UsageError: `x` is not `[B, C, H, W]` with at least one pixel, or `step` is not positive.
        BackendError: The backend asked for cannot serve the call.
    """
    if x.ndim != 4 or 0 in x.shape:
        raise UsageError(f"x: expected [B, C, H, W], no dimension empty, got {list(x.shape)}")
    if step < 1:
        raise UsageError(f"step: expected 1 or more pixels, got {step}")
    result: Tensor = atrous_scan_op(x, step, resolve_backend("atrous_scan", x.device, x.dtype, backend))
    return result


def atrous_merge(y: Tensor, grid: tuple[int, int], *, step: int = 2, backend: str = "auto") -> Tensor:
    """Puts the sequences of `atrous_scan` back where they came from; padding is dropped.

    Args:
        y: `[B, step**2, C, ceil(H / step) * ceil(W / step)]`.
        grid: (H, W) of the map.
        step: As for `atrous_scan`.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, C, H * W]`, row by row, contiguous, in the dtype of `y`.

    Raises:
        UsageError: `y`, `grid` and `step` do not fit each other.
        BackendError: The backend asked for cannot serve the call.
    """
    if step < 1:
        raise UsageError(f"step: expected 1 or more pixels, got {step}")
    if len(grid) != 2 or min(grid) < 1:
        raise UsageError(f"grid: expected (H, W) with at least one pixel, got {tuple(grid)}")
    rows, columns = sub_grid_size(*grid, step)
    if y.ndim != 4 or 0 in y.shape or y.shape[1] != step**2 or y.shape[3] != rows * columns:
        raise UsageError(
            f"y: expected [B, {step**2}, C, {rows * columns}] for grid={tuple(grid)} and step={step}, "
            f"got {list(y.shape)}"
        )
    chosen = resolve_backend("atrous_merge", y.device, y.dtype, backend)
    result: Tensor = atrous_merge_op(y, *grid, step, chosen)
    return result
