"""Selective scan: the linear-time recurrence of Mamba, and so of Vim, VMamba and EfficientVMamba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from .op import selective_scan_forward
from .probe import mamba_refusal

__all__ = ["selective_scan"]

_SHORT = (torch.float32, torch.bfloat16, torch.float16)

register_operator(
    "selective_scan",
    (
        Backend("cpu", devices=("cpu",), dtypes=_SHORT, module="numba"),
        triton_backend(),
        Backend("mamba", devices=("cuda",), dtypes=_SHORT, unavailable=mamba_refusal),
        Backend("torch"),
        Backend("reference"),
    ),
)


def _check_shapes(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    if u.ndim != 3 or 0 in u.shape:
        raise UsageError(f"u: expected [B, D, L] with at least one channel and token, got {list(u.shape)}")
    batch, channels, tokens = u.shape
    if delta.shape != u.shape:
        raise UsageError(f"delta: expected the shape of u, {list(u.shape)}, got {list(delta.shape)}")
    if A.ndim != 2 or A.shape[0] != channels or A.shape[1] == 0:
        raise UsageError(f"A: expected [D, N] with D = {channels} and N at least 1, got {list(A.shape)}")
    states = A.shape[1]
    if B.ndim != 4 or B.shape[0] != batch or B.shape[2:] != (states, tokens) or B.shape[1] == 0:
        raise UsageError(f"B: expected [B, G, N, L] = [{batch}, G, {states}, {tokens}], got {list(B.shape)}")
    if channels % B.shape[1]:
        raise UsageError(f"B: expected G groups that divide D = {channels}, got {B.shape[1]} of them")
    if C.shape != B.shape:
        raise UsageError(f"C: expected the shape of B, {list(B.shape)}, got {list(C.shape)}")


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
) -> None:
    _check_shapes(u, delta, A, B, C)
    for name, tensor in (("D", D), ("delta_bias", delta_bias)):
        if tensor is not None and tensor.shape != u.shape[1:2]:
            raise UsageError(f"{name}: expected [D] = [{u.shape[1]}], got {list(tensor.shape)}")
    if z is not None and z.shape != u.shape:
        raise UsageError(f"z: expected the shape of u, {list(u.shape)}, got {list(z.shape)}")
    named = zip(
        ("u", "delta", "A", "B", "C", "D", "z", "delta_bias"), (u, delta, A, B, C, D, z, delta_bias), strict=True
    )
    for name, tensor in named:
        if tensor is not None and not tensor.is_floating_point():
            raise UsageError(f"{name}: expected a floating-point tensor, got {tensor.dtype}")
        if tensor is not None and tensor.device != u.device:
            raise UsageError(f"{name}: expected a tensor on {u.device}, where u is, got one on {tensor.device}")


def _directions(reverse: bool | Sequence[bool], channels: int) -> list[bool]:
    directions = [reverse] if isinstance(reverse, bool) else [bool(direction) for direction in reverse]
    if not directions or channels % len(directions):
        raise UsageError(
            f"reverse: expected True, False, or K flags with K a divisor of D = {channels}, got {len(directions)} flags"
        )
    return directions


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    reverse: bool | Sequence[bool] = False,
    return_last_state: Literal[False] = False,
    backend: str = "auto",
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    reverse: bool | Sequence[bool] = False,
    return_last_state: Literal[True],
    backend: str = "auto",
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    reverse: bool | Sequence[bool] = False,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    r"""A linear recurrence over the tokens whose step, input and readout are chosen by each token.

    .. math::
        \Delta_t = softplus(delta_t + delta\_bias), \qquad
        h_t = e^{\Delta_t A} h_{t-1} + \Delta_t u_t B_t, \qquad
        y_t = C_t \cdot h_t + D u_t, \qquad out_t = y_t \, SiLU(z_t)

    per channel, with N states each, from `h = 0`. Algorithm 2 of Mamba (arXiv 2312.00752); softplus, bias, D and gate
    are optional. Channel d reads the group `d * G // D` of B and C. A reversed channel runs from the last token to the
    first, by index, so nothing needs flipping; K flags give K directions to K equal runs of channels in one call.

    States, exponentials and sums are float32 (float64 where an input is, or in `reference`), whatever the storage and
    under autocast. Each of u, delta and z may be contiguous or a transposed `[B, L, D]`; u decides for the output.

    Args:
        u: `[B, D, L]`.
        delta: `[B, D, L]`, step size of each channel at each token.
        A: `[D, N]`, rate of each state; negative in trained models. Infinities and NaN are refused on the CPU; on an
            accelerator, where looking would stall the stream, they come out again.
        B: `[B, G, N, L]`, G a divisor of D.
        C: As `B`.
        D: `[D]`, share of the input in the output.
        z: `[B, D, L]`, gate.
        delta_bias: `[D]`, added to `delta` before the softplus.
        delta_softplus: Apply the softplus.
        reverse: Direction of all channels, or a flag for each of K equal runs of channels.
        return_last_state: Also return the state after the last token of the scan (the first in time if reversed).
        backend: `auto`, `cpu` (numba), `triton`, `mamba` (mamba-ssm's CUDA kernel), `torch` or `reference`.

    Returns:
        `[B, D, L]` in the dtype and memory layout of `u`, and the last state `[B, D, N]` in float32 or float64 if asked
        for; differentiable once for all tensors.

    Raises:
        UsageError: A shape, dtype, device or value does not fit; the argument is named.
        BackendError: The backend asked for cannot serve the call.
    """
    _check(u, delta, A, B, C, D, z, delta_bias)
    directions = _directions(reverse, u.shape[1])
    tensors = [tensor for tensor in (u, delta, A, B, C, D, z, delta_bias) if tensor is not None]
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else u.dtype
    chosen = resolve_backend("selective_scan", u.device, dtype, backend)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    out, last_state, _, _ = selective_scan_forward(
        u, delta, A, B, C, D, z, delta_bias, delta_softplus, directions, chosen, save
    )
    return (out, last_state) if return_last_state else out
