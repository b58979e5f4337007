"""The two-dimensional selective scan as torch operators, forward and backward one opaque node each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..registration import define_operator
from .inputs import Inputs, check_rates


def _form(backend: str) -> Any:
    if backend == "cpu":
        from . import cpu

        return cpu
    if backend == "triton":
        from . import triton

        return triton
    from . import plain

    return plain


def _prepared(inputs: Inputs, backend: str) -> Inputs:
    """In the type of the states, except for kernels that read any."""
    return inputs if backend == "triton" else inputs.to(inputs.state_dtype())


def _like(value: Tensor, model: Tensor) -> Tensor:
    """The value in the dtype and memory layout that `torch.empty_like(model)` has."""
    layout = torch.empty_like(model, device="meta")
    if value.dtype == layout.dtype and value.stride() == layout.stride():
        return value
    return torch.empty_like(model).copy_(value)


def _forward(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    backend: str,
) -> Tensor:
    check_rates(A)
    inputs = Inputs(x, delta, A, B, C, D, delta_bias, delta_softplus)
    return _like(_form(backend).forward(_prepared(inputs, backend)), x)


def _fake_forward(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _given(*inputs: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in inputs if tensor is not None]


def _backward(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    g: Tensor,
    delta_softplus: bool,
    backend: str,
) -> list[Tensor]:
    inputs = Inputs(x, delta, A, B, C, D, delta_bias, delta_softplus)
    prepared = _prepared(inputs, backend)
    grads = _given(*_form(backend).backward(prepared, g.to(prepared.x.dtype)))
    return [_like(grad, tensor) for grad, tensor in zip(grads, _given(*inputs[:-1]), strict=True)]


def _fake_backward(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, delta_bias: Tensor | None, *_: Any
) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in _given(x, delta, A, B, C, D, delta_bias)]


def _context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.softplus, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    grads = iter(selective_scan_2d_backward(*tensors, g, ctx.softplus, ctx.backend))
    return (*(None if tensor is None else next(grads) for tensor in tensors), None, None)


selective_scan_2d_backward = define_operator(
    "selective_scan_2d_backward",
    "(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, Tensor g,"
    " bool delta_softplus, str backend) -> Tensor[]",
    _backward,
    _fake_backward,
)

selective_scan_2d_op = define_operator(
    "selective_scan_2d",
    "(Tensor x, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, bool delta_softplus,"
    " str backend) -> Tensor",
    _forward,
    _fake_forward,
    backward=_differentiate,
    setup_context=_context,
)
