"""Causal depthwise convolution over tokens: the short mixing that stands before the scan in a Mamba block."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from . import external
from .op import causal_conv1d_op

__all__ = ["causal_conv1d"]

_SHORT = (torch.float32, torch.bfloat16, torch.float16)

register_operator(
    "causal_conv1d",
    (
        Backend("cpu", devices=("cpu",), dtypes=_SHORT, module="numba"),
        triton_backend(),
        Backend(external.PACKAGE, devices=("cuda",), dtypes=_SHORT, unavailable=external.refusal),
        Backend("torch"),
        Backend("reference"),
    ),
)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> None:
    if x.ndim != 3 or 0 in x.shape:
        raise UsageError(f"x: expected [B, D, L] with at least one channel and token, got {list(x.shape)}")
    channels = x.shape[1]
    if weight.ndim != 2 or weight.shape[0] != channels or weight.shape[1] == 0:
        raise UsageError(f"weight: expected [D, W] with D = {channels} and at least one tap, got {list(weight.shape)}")
    if bias is not None and bias.shape != (channels,):
        raise UsageError(f"bias: expected [D] = [{channels}], got {list(bias.shape)}")
    if activation not in (None, "silu"):
        raise UsageError(f"activation: expected None or 'silu', got {activation!r}")
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        if tensor is not None and not tensor.is_floating_point():
            raise UsageError(f"{name}: expected a floating-point tensor, got {tensor.dtype}")
        if tensor is not None and tensor.device != x.device:
            raise UsageError(f"{name}: expected a tensor on {x.device}, where x is, got one on {tensor.device}")


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Literal["silu"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Each channel's weighted sum of its last W tokens, `y_t = bias + sum_w weight[w] * x[t - (W - 1) + w]`.

    Tokens before the first count as zero. With `reverse` it looks at the next W tokens instead, as if the sequence were
    flipped before and after. Mamba (arXiv 2312.00752), figure 3.

    Sums are float32 (float64 where an input is, or in `reference`), whatever the storage.

    Args:
        x: `[B, D, L]`, contiguous or a transposed `[B, L, D]`.
        weight: `[D, W]`; its last column is the weight of the token itself.
        bias: `[D]`.
        activation: `silu`, applied to the sum, or none.
        reverse: Look ahead instead of back.
        backend: `auto`, `cpu` (numba), `triton`, `causal_conv1d` (the package's CUDA kernel), `torch` or `reference`.

    Returns:
        `[B, D, L]` in the dtype and memory layout of `x`; differentiable once for all tensors.

    Raises:
        UsageError: A shape, dtype or device does not fit; the argument is named.
        BackendError: The backend asked for cannot serve the call.
    """
    _check(x, weight, bias, activation)
    double = any(tensor is not None and tensor.dtype == torch.float64 for tensor in (x, weight, bias))
    chosen = resolve_backend("causal_conv1d", x.device, torch.float64 if double else x.dtype, backend)
    result: Tensor = causal_conv1d_op(x, weight, bias, activation == "silu", reverse, chosen)
    return result
