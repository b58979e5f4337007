"""Q-shift as torch operators: `linbench::q_shift`, `linbench::q_shift_mix` and the latter's backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..registration import define_operator
from . import plain, reference
from .layout import Grid, channel_groups, reversed_groups


def _state_dtype(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def _written_out(backend: str) -> plain.Shift:
    return reference.shifted if backend == "reference" else plain.shifted


def _shift(
    x: Tensor, height: int, width: int, lead: int, shift: int, gamma: float, adjoint: bool, backend: str
) -> Tensor:
    grid = Grid(height, width, lead, x.shape[1])
    if backend == "triton":
        from . import triton

        return triton.shifted(x, grid, -shift if adjoint else shift, gamma)
    groups = channel_groups(x.shape[2], shift, gamma)
    groups = reversed_groups(groups) if adjoint else groups
    if backend == "cpu":
        from . import cpu

        return cpu.shifted(x.float().contiguous(), grid, groups).to(x.dtype)
    return _written_out(backend)(x, grid, groups)


def _fake_shift(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


def _shift_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *ctx.geometry, ctx.adjoint, ctx.backend = inputs


def _differentiate_shift(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return (q_shift_op(g, *ctx.geometry, not ctx.adjoint, ctx.backend), *[None] * 7)


def _mix(
    x: Tensor, mix: Tensor, height: int, width: int, lead: int, shift: int, gamma: float, backend: str
) -> list[Tensor]:
    grid = Grid(height, width, lead, x.shape[1])
    if backend == "triton":
        from . import triton

        return triton.mix_forward(x, mix.float().contiguous(), grid, shift, gamma)
    groups = channel_groups(x.shape[2], shift, gamma)
    dtype = _state_dtype(x, mix)
    inputs = x.to(dtype).contiguous(), mix.to(dtype).contiguous(), grid, groups
    if backend == "cpu":
        from . import cpu

        outputs = cpu.mix_forward(*inputs)
    else:
        outputs = plain.mix_forward(*inputs, _written_out(backend))
    return [output.to(x.dtype) for output in outputs]


def _fake_mix(x: Tensor, mix: Tensor, *_: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for _ in range(mix.shape[0])]


def _mix_backward(
    x: Tensor,
    mix: Tensor,
    grads: list[Tensor],
    height: int,
    width: int,
    lead: int,
    shift: int,
    gamma: float,
    backend: str,
) -> tuple[Tensor, Tensor]:
    grid = Grid(height, width, lead, x.shape[1])
    if backend == "triton":
        from . import triton

        outer = [g.contiguous() for g in grads]
        gx, gmix = triton.mix_backward(x, mix.float().contiguous(), outer, grid, shift, gamma)
        return gx, gmix.to(mix.dtype)
    groups = channel_groups(x.shape[2], shift, gamma)
    dtype = _state_dtype(x, mix)
    outer = [g.to(dtype).contiguous() for g in grads]
    inputs = x.to(dtype).contiguous(), mix.to(dtype).contiguous(), outer, grid, groups
    if backend == "cpu":
        from . import cpu

        gx, gmix = cpu.mix_backward(*inputs)
    else:
        gx, gmix = plain.mix_backward(*inputs, reversed_groups(groups), _written_out(backend))
    return gx.to(x.dtype), gmix.to(mix.dtype)


def _fake_mix_backward(x: Tensor, mix: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), mix.new_empty(mix.shape)


def _mix_context(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, mix, *ctx.settings = inputs
    ctx.save_for_backward(x, mix)


def _differentiate_mix(ctx: Any, grads: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    x, mix = ctx.saved_tensors
    given = [torch.zeros_like(x) if g is None else g for g in grads]
    return (*q_shift_mix_backward(x, mix, given, *ctx.settings), *[None] * 6)


q_shift_op = define_operator(
    "q_shift",
    "(Tensor x, int height, int width, int lead, int shift, float gamma, bool adjoint, str backend) -> Tensor",
    _shift,
    _fake_shift,
    backward=_differentiate_shift,
    setup_context=_shift_context,
)

q_shift_mix_backward = define_operator(
    "q_shift_mix_backward",
    "(Tensor x, Tensor mix, Tensor[] grads, int height, int width, int lead, int shift, float gamma, str backend)"
    " -> (Tensor, Tensor)",
    _mix_backward,
    _fake_mix_backward,
)

q_shift_mix_op = define_operator(
    "q_shift_mix",
    "(Tensor x, Tensor mix, int height, int width, int lead, int shift, float gamma, str backend) -> Tensor[]",
    _mix,
    _fake_mix,
    backward=_differentiate_mix,
    setup_context=_mix_context,
)
