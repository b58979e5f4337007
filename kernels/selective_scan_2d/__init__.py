"""The selective scan of a map in VMamba's four directions, SS2D, in one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from . import reference
from .inputs import Inputs
from .op import selective_scan_2d_op

__all__ = ["selective_scan_2d"]

register_operator(
    "selective_scan_2d",
    (
        Backend("cpu", devices=("cpu",), dtypes=(torch.float32, torch.bfloat16, torch.float16), module="numba"),
        triton_backend(),
        Backend("torch"),
        Backend("reference"),
    ),
)


def _check(inputs: Inputs) -> None:
    x, A = inputs.x, inputs.A
    if x.ndim != 4 or 0 in x.shape:
        raise UsageError(f"x: expected [B, D, H, W], no dimension empty, got {list(x.shape)}")
    batch, channels, *grid = x.shape
    if A.ndim != 2 or A.shape[0] != 4 * channels or A.shape[1] == 0:
        raise UsageError(f"A: expected [4 * D, N] = [{4 * channels}, N], got {list(A.shape)}")
    shapes = {
        "delta": [batch, 4, channels, *grid],
        "B": [batch, 4, A.shape[1], *grid],
        "C": [batch, 4, A.shape[1], *grid],
        "D": [4 * channels],
        "delta_bias": [4 * channels],
    }
    # Not _asdict(): the compiler of torch 2.6 does not follow it.
    for name in Inputs._fields:
        tensor = getattr(inputs, name)
        if not isinstance(tensor, Tensor):
            continue
        if name in shapes and list(tensor.shape) != shapes[name]:
            raise UsageError(f"{name}: expected {shapes[name]} for x of {list(x.shape)}, got {list(tensor.shape)}")
        if not tensor.is_floating_point():
            raise UsageError(f"{name}: expected a floating-point tensor, got {tensor.dtype}")
        if tensor.device != x.device:
            raise UsageError(f"{name}: expected a tensor on {x.device}, where x is, got one on {tensor.device}")


def selective_scan_2d(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    backend: str = "auto",
) -> Tensor:
    r"""Selective scans of a map in the four directions of `cross_scan`, added up: the core of VMamba's SS2D.

    Direction k visits the pixels t = 0, 1, ... in its own order, with a state of N values for each channel:

    .. math::
        h_t = e^{\Delta_t A} h_{t-1} + \Delta_t x_t B_t, \qquad y_t = C_t \cdot h_t + D x_t

    The result is `cross_merge(selective_scan(cross_scan(x), ...))`, but the four copies of the map that this makes, of
    `x` before the scan and of `y` behind it, are never there. `delta`, `B` and `C` belong to pixels, not to steps: what
    a 1x1 convolution of `x` gives.

    States and sums are float32 (float64 where an input is, or in `reference`). Any memory layout is served; on the CPU
    `x` and `delta` with neighbouring channels (`channels_last`) are read in place, on a GPU contiguous ones.

    Args:
        x: `[B, D, H, W]`.
        delta: `[B, 4, D, H, W]`, step size of each pixel in each direction.
        A: `[4 * D, N]`, negative; direction k has the rows `k * D` to `(k + 1) * D`.
        B: `[B, 4, N, H, W]`.
        C: `[B, 4, N, H, W]`.
        D: `[4 * D]`, or none.
        delta_bias: `[4 * D]`, added to `delta`, or none.
        delta_softplus: Whether the step size is `softplus(delta + delta_bias)`.
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, D, H, W]` in the dtype and memory layout of `x`; differentiable once for all seven tensors.

    Raises:
        UsageError: A shape, dtype or device does not fit, or `A` is not finite (looked at on the CPU only).
        BackendError: The backend asked for cannot serve the call.
    """
    inputs = Inputs(x, delta, A, B, C, D, delta_bias, delta_softplus)
    _check(inputs)
    dtype = torch.float64 if inputs.state_dtype() == torch.float64 else x.dtype
    chosen = resolve_backend("selective_scan_2d", x.device, dtype, backend)
    if chosen == "reference":
        return reference.scan(inputs)
    result: Tensor = selective_scan_2d_op(*inputs, chosen)
    return result
