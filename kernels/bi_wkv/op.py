"""Bi-WKV as torch operators: `linbench::bi_wkv_forward` and its backward, one opaque node each to a compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from . import chunked, official, reference

# Operations per token and channel, the rule Vision-RWKV counts by.
_FLOPS_PER_ELEMENT = 29


def _state_dtype(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _prepare(dtype: torch.dtype, *tensors: Tensor) -> list[Tensor]:
    return [tensor.to(dtype).contiguous() for tensor in tensors]


@torch.library.custom_op("linbench::bi_wkv_forward", mutates_args=())
def bi_wkv_forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, convention: str, backend: str, save: bool
) -> tuple[Tensor, Tensor]:
    """Output in `v`'s dtype and, where `save`, the log-denominators for the backward pass (which `reference` remakes)."""
    dtype = _state_dtype(decay, bonus, k, v)
    logsum = k.new_empty(0, dtype=dtype)
    if backend == "reference":
        y = (official if convention == "cuda" else reference).forward(decay, bonus, k, v)
    elif backend == "cpu":
        from . import cpu

        y, logsum = cpu.forward(*_prepare(dtype, decay, bonus, k, v), save)
    else:
        y, sums = chunked.forward(*_prepare(dtype, decay, bonus, k, v))
        logsum = sums.contiguous() if save else logsum
    return y.to(v.dtype).contiguous(), logsum


@bi_wkv_forward.register_fake
def _(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, convention: str, backend: str, save: bool
) -> tuple[Tensor, Tensor]:
    dtype = _state_dtype(decay, bonus, k, v)
    saved = v.shape if save and backend != "reference" else (0,)
    return v.new_empty(v.shape), v.new_empty(saved, dtype=dtype)


@torch.library.custom_op("linbench::bi_wkv_backward", mutates_args=())
def bi_wkv_backward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    logsum: Tensor,
    g: Tensor,
    convention: str,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay, bonus, k and v, each in its input's dtype."""
    dtype = _state_dtype(decay, bonus, k, v)
    if backend == "reference":
        grads = (official if convention == "cuda" else reference).backward(decay, bonus, k, v, g)
    elif backend == "cpu":
        from . import cpu

        grads = cpu.backward(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    else:
        grads = chunked.backward_from_weights(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    gdecay, gbonus, gk, gv = (
        grad.to(tensor.dtype).contiguous() for grad, tensor in zip(grads, (decay, bonus, k, v), strict=True)
    )
    return gdecay, gbonus, gk, gv


@bi_wkv_backward.register_fake
def _(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    logsum: Tensor,
    g: Tensor,
    convention: str,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return decay.new_empty(decay.shape), bonus.new_empty(bonus.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    decay, bonus, k, v, ctx.convention, ctx.backend, _ = inputs
    ctx.save_for_backward(decay, bonus, k, v, *output)


def _backward(ctx: Any, g: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = bi_wkv_backward(*ctx.saved_tensors, g, ctx.convention, ctx.backend)
    return (*grads, None, None, None)


bi_wkv_forward.register_autograd(_backward, setup_context=_setup_context)


def _flops(decay: Any, bonus: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    batch, tokens, channels = v
    return int(_FLOPS_PER_ELEMENT * batch * tokens * channels)


register_flop_formula(torch.ops.linbench.bi_wkv_forward)(_flops)
register_flop_formula(torch.ops.linbench.bi_wkv_backward)(lambda *args, **kwargs: 2 * _flops(*args, **kwargs))
