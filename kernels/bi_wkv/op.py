"""Bi-WKV as torch operators: `linbench::bi_wkv_forward` and its backward, one opaque node each to a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..registration import define_operator
from . import chunked, official, reference


def _state_dtype(*tensors: Tensor | None) -> torch.dtype:
    double = any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if double else torch.float32


def _prepare(dtype: torch.dtype, *tensors: Tensor) -> Iterator[Tensor]:
    return (tensor.to(dtype).contiguous() for tensor in tensors)


def _gated(y: Tensor, gate: Tensor | None) -> Tensor:
    return y if gate is None else torch.sigmoid(gate.to(y.dtype)) * y


def _forward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor | None,
    convention: str,
    backend: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if backend == "triton":
        from . import triton

        return triton.forward(decay.float().contiguous(), bonus.float().contiguous(), k, v, gate, save=save)
    dtype = _state_dtype(decay, bonus, k, v, gate)
    logsum = k.new_empty(0, dtype=dtype)
    if backend == "cpu":
        from . import cpu

        gates = None if gate is None else gate.to(dtype).contiguous()
        out, y, logsum = cpu.forward(*_prepare(dtype, decay, bonus, k, v), gate=gates, save=save)
    else:
        if backend == "reference":
            y = (official if convention == "cuda" else reference).forward(decay, bonus, k, v)
        else:
            y, sums = chunked.forward(*_prepare(dtype, decay, bonus, k, v))
            logsum = sums.contiguous() if save else logsum
        out = _gated(y, gate)
    kept = y.to(v.dtype).contiguous() if save and gate is not None else v.new_empty(0)
    return out.to(v.dtype).contiguous(), kept, logsum


def _fake_forward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor | None,
    convention: str,
    backend: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    kept = v.shape if save and gate is not None else (0,)
    logs = v.shape if save and backend != "reference" else (0,)
    return v.new_empty(v.shape), v.new_empty(kept), v.new_empty(logs, dtype=_state_dtype(decay, bonus, k, v, gate))


def _backward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor | None,
    y: Tensor,
    logsum: Tensor,
    g: Tensor,
    convention: str,
    backend: str,
) -> tuple[Tensor, ...]:
    """Gradients for decay, bonus, k, v and the gate; `y` is the output before the gate."""
    inputs = (decay, bonus, k, v, v if gate is None else gate)
    dtype = _state_dtype(decay, bonus, k, v, gate)
    if backend == "triton":
        from . import triton

        everything = triton.backward(
            decay.float().contiguous(), bonus.float().contiguous(), k, v, gate, y, logsum, g.contiguous()
        )
        return tuple(grad.to(tensor.dtype) for grad, tensor in zip(everything, inputs, strict=True))
    ggate = v.new_empty(0)
    if gate is not None:
        g, ggate = _gate_gradients(backend, *_prepare(dtype, gate, y, g))
    if backend == "reference":
        grads = (official if convention == "cuda" else reference).backward(decay, bonus, k, v, g)
    elif backend == "cpu":
        from . import cpu

        grads = cpu.backward(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    else:
        grads = chunked.backward_from_weights(*_prepare(dtype, decay, bonus, k, v, y, logsum, g))
    return tuple(grad.to(x.dtype).contiguous() for grad, x in zip((*grads, ggate), inputs, strict=True))


def _gate_gradients(backend: str, gate: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the output before the gate, and of the gate."""
    if backend == "cpu":
        from . import cpu

        return cpu.gate_gradients(gate, y, g)
    share = torch.sigmoid(gate)
    return g * share, g * y * share * (1 - share)


def _fake_backward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, gate: Tensor | None, *_: Any
) -> tuple[Tensor, ...]:
    grads = [tensor.new_empty(tensor.shape) for tensor in (decay, bonus, k, v)]
    return (*grads, v.new_empty(0) if gate is None else gate.new_empty(gate.shape))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.convention, ctx.backend, _ = inputs
    out, y, logsum = output
    ctx.gated = tensors[4] is not None
    # Spares tensors of zeros as the gradients of the saved outputs, which nobody differentiates.
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, y if ctx.gated else out, logsum)


def _differentiate(ctx: Any, g: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if g is None:
        return (None,) * 8
    *grads, ggate = bi_wkv_backward(*ctx.saved_tensors, g, ctx.convention, ctx.backend)
    return (*grads, ggate if ctx.gated else None, None, None, None)


bi_wkv_backward = define_operator(
    "bi_wkv_backward",
    "(Tensor decay, Tensor bonus, Tensor k, Tensor v, Tensor? gate, Tensor y, Tensor logsum, Tensor g, str convention,"
    " str backend) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _fake_backward,
)

# Gives the output in v's dtype and, where `save`, the output before the gate, if gated, and the log-denominators
# (which `reference` remakes when it needs them).
bi_wkv_forward = define_operator(
    "bi_wkv_forward",
    "(Tensor decay, Tensor bonus, Tensor k, Tensor v, Tensor? gate, str convention, str backend, bool save)"
    " -> (Tensor, Tensor, Tensor)",
    _forward,
    _fake_forward,
    backward=_differentiate,
    setup_context=_setup_context,
)
