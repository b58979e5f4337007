"""The selective scan by mamba-ssm's CUDA kernel, through its extension `selective_scan_cuda` (mamba-ssm 1.1 to 2.3).

The kernel knows one direction, storage of one type for u, delta, B, C and z, and tokens that are neighbours in memory.
A call with several directions becomes one for each section, and a reversed one is flipped going in and coming out, as
its users do.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from .layout import Inputs, Sections
from .probe import MODULE
from .reference import Gradients

# Tokens between the states that the kernel keeps for its backward pass.
_CHUNK = 2048


def saved_shape(batch: int, channels: int, tokens: int, states: int) -> list[int]:
    """Of the states that the kernel keeps: factor and state of each chunk."""
    return [batch, channels, -(-tokens // _CHUNK), 2 * states]


def _neighbours(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _parts(inputs: Inputs, sections: Sections) -> list[tuple[slice, slice, bool]]:
    """Channels, groups and direction of each call."""
    if len(set(sections.reverse)) == 1:
        return [(slice(None), slice(None), sections.reverse[0])]
    return [
        (slice(index * sections.size, (index + 1) * sections.size), slice(group, group + 1), reverse)
        for index, (group, reverse) in enumerate(zip(sections.group, sections.reverse, strict=True))
    ]


def _turned(x: Tensor, reverse: bool) -> Tensor:
    return x.flip(-1) if reverse else x


def _arguments(inputs: Inputs, channels: slice, groups: slice, reverse: bool) -> list[Tensor | None]:
    """One call's share of the inputs, as the kernel takes them."""
    u, delta, A, B, C, D, z, bias = inputs

    def sequence(x: Tensor, part: slice) -> Tensor:
        return _neighbours(_turned(x[:, part], reverse).to(u.dtype))

    def row(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[channels].float().contiguous()

    return [
        sequence(u, channels),
        sequence(delta, channels),
        A[channels].float().contiguous(),
        sequence(B, groups),
        sequence(C, groups),
        row(D),
        None if z is None else sequence(z, channels),
        row(bias),
    ]


def forward(
    inputs: Inputs, softplus: bool, sections: Sections, *, save: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Output, last state, and where `save` the kernel's own states and, with a gate, the output before it."""
    module: Any = importlib.import_module(MODULE)
    outs, kept, ungated = [], [], []
    for channels, groups, reverse in _parts(inputs, sections):
        y, states, *gated = module.fwd(*_arguments(inputs, channels, groups, reverse), softplus)
        outs.append(_turned(gated[0] if gated else y, reverse))
        kept.append(states)
        ungated.append(_turned(y, reverse))
    states = torch.cat(kept, 1)
    last = states[:, :, -1, 1::2]
    before_gate = torch.cat(ungated, 1) if save and inputs.z is not None else inputs.u.new_empty(0, dtype=torch.float32)
    return torch.cat(outs, 1), last, states if save else None, before_gate


def backward(
    inputs: Inputs, softplus: bool, sections: Sections, saved: Tensor, ungated: Tensor, g: Tensor
) -> Gradients:
    """Gradients for all inputs from that of the output; sums of the kernel's are in the order its threads finish."""
    module: Any = importlib.import_module(MODULE)
    total = [None if x is None else torch.zeros_like(x, dtype=torch.float32) for x in inputs]
    for channels, groups, reverse in _parts(inputs, sections):
        arguments = _arguments(inputs, channels, groups, reverse)
        outer = _neighbours(_turned(g[:, channels], reverse).to(inputs.u.dtype))
        y = _neighbours(_turned(ungated[:, channels], reverse)) if inputs.z is not None else None
        states = saved[:, channels].contiguous()
        du, ddelta, dA, dB, dC, dD, dbias, *gated = module.bwd(*arguments, outer, states, y, None, softplus, False)
        named = (du, ddelta, dA, dB, dC, dD, gated[0] if gated else None, dbias)
        for index, (grad, target) in enumerate(zip(named, total, strict=True)):
            if target is None or grad is None:
                continue
            if index in (2, 5, 7):
                target[channels] += grad
            else:
                target[:, groups if index in (3, 4) else channels] += _turned(grad, reverse)
    return tuple(total)
