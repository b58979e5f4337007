"""Bi-WKV as torch operators: `linbench::bi_wkv_forward` and its backward, one opaque node each to a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..registration import define_operator
from . import chunked, official, reference


def _state_dtype(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _prepare(dtype: torch.dtype, *tensors: Tensor) -> Iterator[Tensor]:
    return (tensor.to(dtype).contiguous() for tensor in tensors)


def _forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, convention: str, backend: str, save: bool
) -> tuple[Tensor, Tensor]:
    dtype = _state_dtype(decay, bonus, k, v)
    logsum = k.new_empty(0, dtype=dtype)
    if backend == "reference":
        y = (official if convention == "cuda" else reference).forward(decay, bonus, k, v)
    elif backend == "cpu":
        from . import cpu

        y, logsum = cpu.forward(*_prepare(dtype, decay, bonus, k, v), save=save)
    else:
        y, sums = chunked.forward(*_prepare(dtype, decay, bonus, k, v))
        logsum = sums.contiguous() if save else logsum
    return y.to(v.dtype).contiguous(), logsum


def _fake_forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, convention: str, backend: str, save: bool
) -> tuple[Tensor, Tensor]:
    saved = v.shape if save and backend != "reference" else (0,)
    return v.new_empty(v.shape), v.new_empty(saved, dtype=_state_dtype(decay, bonus, k, v))


def _backward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    logsum: Tensor,
    g: Tensor,
    convention: str,
    backend: str,
) -> tuple[Tensor, ...]:
    dtype = _state_dtype(decay, bonus, k, v)
    if backend == "reference":
        grads = (official if convention == "cuda" else reference).backward(decay, bonus, k, v, g)
    elif backend == "cpu":
        from . import cpu

        grads = cpu.backward(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    else:
        grads = chunked.backward_from_weights(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    inputs = (decay, bonus, k, v)
    return tuple(grad.to(tensor.dtype).contiguous() for grad, tensor in zip(grads, inputs, strict=True))


def _fake_backward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in (decay, bonus, k, v))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    decay, bonus, k, v, ctx.convention, ctx.backend, _ = inputs
    # Spares a tensor of zeros as the gradient of the log-denominators, which nobody differentiates.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(decay, bonus, k, v, *output)


def _differentiate(ctx: Any, g: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if g is None:
        return (None,) * 7
    grads = bi_wkv_backward(*ctx.saved_tensors, g, ctx.convention, ctx.backend)
    return (*grads, None, None, None)


bi_wkv_backward = define_operator(
    "bi_wkv_backward",
    "(Tensor decay, Tensor bonus, Tensor k, Tensor v, Tensor y, Tensor logsum, Tensor g, str convention, str backend)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _fake_backward,
)

# Gives the output in v's dtype and, where `save`, the log-denominators (which `reference` remakes when it needs them).
bi_wkv_forward = define_operator(
    "bi_wkv_forward",
    "(Tensor decay, Tensor bonus, Tensor k, Tensor v, str convention, str backend, bool save) -> (Tensor, Tensor)",
    _forward,
    _fake_forward,
    backward=_differentiate,
    setup_context=_setup_context,
)
