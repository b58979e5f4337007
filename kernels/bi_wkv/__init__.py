"""Bi-WKV: the linear-time bidirectional attention of Vision-RWKV and RWKV-SAM."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ...errors import UsageError
from ..registry import Backend, register_operator, resolve_backend
from ..triton_tools import triton_backend
from .op import bi_wkv_forward

__all__ = ["bi_wkv"]

register_operator(
    "bi_wkv",
    (
        Backend("cpu", devices=("cpu",), dtypes=(torch.float32, torch.bfloat16, torch.float16), module="numba"),
        triton_backend(),
        Backend("torch"),
        Backend("reference", conventions=("paper", "cuda")),
    ),
)


def _check(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, gate: Tensor | None, convention: str) -> None:
    if v.ndim != 3 or 0 in v.shape:
        raise UsageError(f"v: expected [B, T, C], no dimension empty, got {list(v.shape)}")
    for name, tensor in (("decay", decay), ("bonus", bonus), ("k", k), ("v", v), ("gate", v if gate is None else gate)):
        if name in ("decay", "bonus"):
            if tensor.shape != v.shape[2:]:
                raise UsageError(f"{name}: expected [C] = [{v.shape[2]}], got {list(tensor.shape)}")
        elif tensor.shape != v.shape:
            raise UsageError(f"{name}: expected the shape of v, {list(v.shape)}, got {list(tensor.shape)}")
        if not tensor.is_floating_point():
            raise UsageError(f"{name}: expected a floating-point tensor, got {tensor.dtype}")
        if tensor.device != v.device:
            raise UsageError(f"{name}: expected a tensor on {v.device}, where v is, got one on {tensor.device}")
    if convention not in ("paper", "cuda"):
        raise UsageError(f"convention: expected 'paper' or 'cuda', got {convention!r}")


def bi_wkv(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    gate: Tensor | None = None,
    convention: Literal["paper", "cuda"] = "paper",
    backend: str = "auto",
) -> Tensor:
    r"""Bidirectional weighted key-value attention, per channel, in time linear in the number of tokens.

    .. math::
        y_t = \frac{\sum_{i \ne t} e^{-(|t-i|-1)\,decay + k_i} v_i + e^{bonus + k_t} v_t}
                   {\sum_{i \ne t} e^{-(|t-i|-1)\,decay + k_i} + e^{bonus + k_t}}

    With `gate`, `sigmoid(gate) * y`, in the same pass over memory (what the receptance of an RWKV block does).

    Equation 4 of RWKV-SAM and of Vision-RWKV with `decay = w / T` and `bonus = u / T`: the caller divides both by the
    number of tokens, the operator divides nothing. A positive decay weighs far tokens less, a negative one more.

    The official CUDA kernel deviates from the equation, by about 6e-4 (RMS, relative) at 196 tokens and 5e-5 at 1,024:
    for most pairs its distance is `|t-i|`, and inside each of its 32 chunks a remainder of passed tokens stays.
    `convention="cuda"` computes what it computes, so that official checkpoints run as they were trained, gradients
    included (its gradients for `k` and `v` are not the exact derivative of its output). Its backend is `reference`,
    there in time linear in T too.

    Exponentials and sums are float32 (float64 where an input is, or in `reference`), whatever the storage and under
    autocast; the backend `cpu` converts half-precision storage to float32 at its boundary. Results are the same
    in every run. `triton` is fast where `abs(decay)` times 128 tokens, and `abs(bonus)`, stay below 30; beyond
    that it compares all pairs of tokens in a chunk and is just as exact.

    Args:
        decay: `[C]`, any sign.
        bonus: `[C]`, log-weight of a token for itself.
        k: `[B, T, C]`; minus infinity leaves a token out.
        v: `[B, T, C]`.
        gate: `[B, T, C]`, before its sigmoid, or none.
        convention: `paper` (the equation) or `cuda` (the official kernel).
        backend: `auto`, `cpu` (numba), `triton`, `torch` or `reference`.

    Returns:
        `[B, T, C]`, contiguous, in the dtype of `v`; differentiable once for all inputs.

    Raises:
        UsageError: A shape, dtype or device does not fit; the argument is named.
        BackendError: The backend asked for cannot serve the call.
    """
    _check(decay, bonus, k, v, gate, convention)
    inputs = [tensor for tensor in (decay, bonus, k, gate) if tensor is not None]
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in inputs) else v.dtype
    chosen = resolve_backend("bi_wkv", v.device, dtype, backend, convention=convention)
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*inputs, v))
    out: Tensor = bi_wkv_forward(decay, bonus, k, v, gate, convention, chosen, save)[0]
    return out
