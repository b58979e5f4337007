"""The selective scan as torch operators: `linbench::selective_scan_forward` and its backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...errors import BackendError, UsageError
from ..memory import new_like, placed
from ..registration import define_operator
from . import chunked, reference
from .layout import Inputs, Sections, cut

_TENSORS = len(Inputs._fields)


def _compiled(backend: str) -> ModuleType:
    """The module of a backend whose compiler should not be imported before it is used."""
    if backend == "cpu":
        from . import cpu

        return cpu
    if backend == "triton":
        from . import triton

        return triton
    from . import external

    return external


def _sections(inputs: Inputs, reverse: list[bool]) -> Sections:
    return cut(inputs.u.shape[1], inputs.B.shape[1], reverse)


def _saved_shape(inputs: Inputs, sections: Sections, backend: str) -> list[int]:
    batch, channels, tokens = inputs.u.shape
    states = inputs.A.shape[1]
    if backend == "reference":
        return [0]
    if backend == "torch":
        return chunked.saved_shape(batch, channels, tokens, states, sections, inputs.u.device.type)
    shape: list[int] = _compiled(backend).saved_shape(batch, channels, tokens, states)
    return shape


def _forward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, (softplus, reverse, backend, save) = Inputs(*args[:_TENSORS]), args[_TENSORS:]
    if inputs.A.device.type == "cpu" and not torch.isfinite(inputs.A).all():
        raise UsageError("A: expected finite numbers, got infinite ones or NaN among them")
    sections, dtype = _sections(inputs, reverse), inputs.state_dtype()
    empty = inputs.u.new_empty(0, dtype=dtype)
    saved: Tensor | None = None
    ungated = empty.clone()
    if backend == "reference":
        out, last = reference.forward(inputs, softplus, sections)
    elif backend == "mamba":
        out, last, saved, ungated = _compiled(backend).forward(inputs, softplus, sections, save=save)
    elif backend == "triton":
        out, last, saved = _compiled(backend).forward(inputs, softplus, sections, save=save)
    else:
        module = chunked if backend == "torch" else _compiled(backend)
        out, last, saved = module.forward(inputs.to(dtype), softplus, sections, save=save)
    last = last.to(dtype).clone(memory_format=torch.contiguous_format)
    return placed(out, inputs.u), last, empty if saved is None else saved, ungated


def _fake_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, (_, reverse, backend, save) = Inputs(*args[:_TENSORS]), args[_TENSORS:]
    u, dtype = inputs.u, inputs.state_dtype()
    saved = _saved_shape(inputs, _sections(inputs, reverse), backend) if save else [0]
    gated = backend == "mamba" and save and inputs.z is not None
    return (
        new_like(u),
        u.new_empty((*u.shape[:2], inputs.A.shape[1]), dtype=dtype),
        u.new_empty(saved, dtype=dtype),
        u.new_empty(u.shape) if gated else u.new_empty(0, dtype=dtype),
    )


def _backward(*args: Any) -> tuple[Tensor, ...]:
    inputs, (saved, ungated, g, g_last, softplus, reverse, backend) = Inputs(*args[:_TENSORS]), args[_TENSORS:]
    sections, dtype = _sections(inputs, reverse), inputs.state_dtype()
    if backend == "reference":
        grads = reference.backward(inputs, softplus, sections, g, g_last)
    elif backend == "mamba":
        if g_last is not None:
            raise BackendError("selective_scan: backend 'mamba' gives the last state no gradient; use another backend")
        grads = _compiled(backend).backward(inputs, softplus, sections, saved, ungated, g)
    elif backend == "triton":
        grads = _compiled(backend).backward(inputs, softplus, sections, saved, g, g_last)
    else:
        module = chunked if backend == "torch" else _compiled(backend)
        last = None if g_last is None else g_last.to(dtype)
        grads = module.backward(inputs.to(dtype), softplus, sections, saved, g.to(dtype), last)
    results = []
    for grad, tensor in zip(grads, inputs, strict=True):
        if tensor is None or grad is None:
            results.append(inputs.u.new_empty(0))
        elif tensor.shape == inputs.u.shape and tensor.ndim == 3:
            results.append(placed(grad, tensor))
        else:
            results.append(grad.to(tensor.dtype).contiguous())
    return tuple(results)


def _fake_backward(*args: Any) -> tuple[Tensor, ...]:
    inputs = Inputs(*args[:_TENSORS])
    return tuple(
        inputs.u.new_empty(0)
        if tensor is None
        else new_like(tensor)
        if tensor.shape == inputs.u.shape and tensor.ndim == 3
        else tensor.new_empty(tensor.shape)
        for tensor in inputs
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.softplus, ctx.reverse, ctx.backend, _ = inputs[_TENSORS:]
    # Spares a tensor of zeros as the gradient of the states, which hardly anyone differentiates.
    ctx.set_materialize_grads(False)
    _, _, saved, ungated = output
    ctx.save_for_backward(*inputs[:_TENSORS], saved, ungated)


def _differentiate(ctx: Any, g: Tensor | None, g_last: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    *inputs, saved, ungated = ctx.saved_tensors
    rest = (None,) * 4
    if g is None and g_last is None:
        return (None,) * _TENSORS + rest
    g = torch.zeros_like(inputs[0]) if g is None else g
    grads = selective_scan_backward(*inputs, saved, ungated, g, g_last, ctx.softplus, ctx.reverse, ctx.backend)
    return (*(None if x is None else grad for x, grad in zip(inputs, grads, strict=True)), *rest)


_ARGUMENTS = "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias"

selective_scan_backward = define_operator(
    "selective_scan_backward",
    f"({_ARGUMENTS}, Tensor saved, Tensor ungated, Tensor g, Tensor? g_last, bool delta_softplus, bool[] reverse,"
    " str backend) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _fake_backward,
)

# Gives the output, the last state and, where `save`, what the backward pass needs of the backend's own.
selective_scan_forward = define_operator(
    "selective_scan_forward",
    f"({_ARGUMENTS}, bool delta_softplus, bool[] reverse, str backend, bool save) -> (Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _fake_forward,
    backward=_differentiate,
    setup_context=_setup_context,
)
