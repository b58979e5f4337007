"""The causal convolution as torch operators: `linbench::causal_conv1d` and its backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..memory import new_like, placed
from ..registration import define_operator
from . import external, reference, shifts


def _module(backend: str) -> ModuleType:
    if backend == "cpu":
        from . import cpu

        return cpu
    if backend == "triton":
        from . import triton

        return triton
    return {"torch": shifts, "reference": reference, external.PACKAGE: external}[backend]


def _prepared(backend: str, *tensors: Tensor | None) -> list[Tensor | None]:
    """In the type a backend computes in; kernels for GPUs convert what they load."""
    if backend in ("triton", "reference", external.PACKAGE):
        return list(tensors)
    double = any(tensor is not None and tensor.dtype == torch.float64 for tensor in tensors)
    dtype = torch.float64 if double else torch.float32
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool, backend: str) -> Tensor:
    y = _module(backend).forward(*_prepared(backend, x, weight, bias), silu, reverse)
    return placed(y, x)


def _fake_forward(x: Tensor, *_: Any) -> Tensor:
    return new_like(x)


def _backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    grads = _module(backend).backward(*_prepared(backend, x, weight, bias, g), silu, reverse)
    gx, gweight, gbias = grads
    return (
        placed(gx, x),
        gweight.to(weight.dtype).contiguous(),
        x.new_empty(0) if bias is None else gbias.to(bias.dtype).contiguous(),
    )


def _fake_backward(x: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    gbias = x.new_empty(0) if bias is None else bias.new_empty(bias.shape)
    return new_like(x), weight.new_empty(weight.shape), gbias


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.silu, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(x, weight, bias)


def _differentiate(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors
    gx, gweight, gbias = causal_conv1d_backward(x, weight, bias, g, ctx.silu, ctx.reverse, ctx.backend)
    return gx, gweight, None if bias is None else gbias, None, None, None


causal_conv1d_backward = define_operator(
    "causal_conv1d_backward",
    "(Tensor x, Tensor weight, Tensor? bias, Tensor g, bool silu, bool reverse, str backend)"
    " -> (Tensor, Tensor, Tensor)",
    _backward,
    _fake_backward,
)

causal_conv1d_op = define_operator(
    "causal_conv1d",
    "(Tensor x, Tensor weight, Tensor? bias, bool silu, bool reverse, str backend) -> Tensor",
    _forward,
    _fake_forward,
    backward=_differentiate,
    setup_context=_setup_context,
)
