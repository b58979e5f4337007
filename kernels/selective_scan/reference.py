"""The selective scan as its formula says it: token by token, in float64, without a tensor of all states."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .layout import Inputs, Sections

Gradients = tuple[Tensor | None, ...]


def _steps(inputs: Inputs, delta: Tensor, sections: Sections) -> tuple[Tensor, ...]:
    """u, delta `[B, X, S, L]`, A `[X, S, N]`, B and C `[B, X, N, L]`, in the order of the scan."""
    u, delta = (sections.turn(sections.split(x)) for x in (inputs.u, delta))
    B, C = (sections.turn(sections.spread(x)) for x in (inputs.B, inputs.C))
    return u, delta, sections.split(inputs.A[None])[0], B, C


def _activated(inputs: Inputs, softplus: bool) -> tuple[Tensor, Tensor]:
    """Delta before and after the softplus."""
    raw = inputs.delta if inputs.delta_bias is None else inputs.delta + inputs.delta_bias[:, None]
    return raw, F.softplus(raw) if softplus else raw


def _states(u: Tensor, delta: Tensor, A: Tensor, B: Tensor) -> list[Tensor]:
    """`[B, X, S, N]` before the first token and after each."""
    states = [torch.zeros(*u.shape[:-1], A.shape[-1], dtype=u.dtype, device=u.device)]
    for t in range(u.shape[-1]):
        decay = torch.exp(delta[..., t, None] * A)
        states.append(decay * states[-1] + (delta * u)[..., t, None] * B[..., None, :, t])
    return states


def _read(states: list[Tensor], C: Tensor, inputs: Inputs, sections: Sections) -> Tensor:
    """Output before the gate, `[B, D, L]`."""
    steps = [(h * C[..., None, :, t]).sum(-1) for t, h in enumerate(states[1:])]
    y = sections.turn(torch.stack(steps, -1)).flatten(1, 2)
    return y if inputs.D is None else y + inputs.D[:, None] * inputs.u


def forward(inputs: Inputs, softplus: bool, sections: Sections) -> tuple[Tensor, Tensor]:
    """Output `[B, D, L]` and last state `[B, D, N]`, float64 whatever the storage."""
    inputs = inputs.to(torch.float64)
    u, delta, A, B, C = _steps(inputs, _activated(inputs, softplus)[1], sections)
    states = _states(u, delta, A, B)
    y = _read(states, C, inputs, sections)
    return y if inputs.z is None else y * F.silu(inputs.z), states[-1].flatten(1, 2)


def backward(inputs: Inputs, softplus: bool, sections: Sections, g: Tensor, g_last: Tensor | None) -> Gradients:
    """Gradients for all inputs from those of the output and of the last state; float64."""
    inputs, gy = inputs.to(torch.float64), g.double()
    raw, activated = _activated(inputs, softplus)
    u, delta, A, B, C = _steps(inputs, activated, sections)
    states = _states(u, delta, A, B)
    gz = None
    if inputs.z is not None:
        gate = torch.sigmoid(inputs.z)
        gz = gy * _read(states, C, inputs, sections) * gate * (1 + inputs.z * (1 - gate))
        gy = gy * inputs.z * gate
    turned = sections.turn(sections.split(gy))

    gu, gdelta, gB, gC = (torch.zeros_like(x) for x in (u, delta, B, C))
    gA = torch.zeros_like(A)
    carry = torch.zeros_like(states[0]) if g_last is None else sections.split(g_last.double())
    for t in reversed(range(u.shape[-1])):
        g_state = carry + turned[..., t, None] * C[..., None, :, t]
        kept = torch.exp(delta[..., t, None] * A) * states[t]
        from_input = (g_state * B[..., None, :, t]).sum(-1)
        gu[..., t] = delta[..., t] * from_input
        gdelta[..., t] = u[..., t] * from_input + (g_state * kept * A).sum(-1)
        gA += (g_state * kept * delta[..., t, None]).sum(0)
        gB[..., t] = (g_state * (delta * u)[..., t, None]).sum(2)
        gC[..., t] = (turned[..., t, None] * states[t + 1]).sum(2)
        carry = g_state * torch.exp(delta[..., t, None] * A)

    gu, gdelta = (sections.turn(x).flatten(1, 2) for x in (gu, gdelta))
    gB, gC = (sections.gather(sections.turn(x), inputs.B.shape[1]) for x in (gB, gC))
    gdelta = gdelta * torch.sigmoid(raw) if softplus else gdelta
    gu = gu if inputs.D is None else gu + inputs.D[:, None] * gy
    gD = None if inputs.D is None else (gy * inputs.u).sum((0, 2))
    gbias = None if inputs.delta_bias is None else gdelta.sum((0, 2))
    return gu, gdelta, gA.flatten(0, 1), gB, gC, gD, gz, gbias
