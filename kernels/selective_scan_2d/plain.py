"""The two-dimensional selective scan in plain PyTorch, on any device, without four copies of the map.

A direction reads the map line by line, a row or a column each. One loop over the steps in a line serves all lines at
once, one over the lines carries their states on; decays only ever multiply, so nothing overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .inputs import Gradients, Inputs

_STATES_AT_ONCE = 1 << 24


class _Lines(NamedTuple):
    """Some channels in one direction, `S` steps in each of `M` lines.

    Attributes:
        channels: Of the map.
        rows: Of the parameters.
        backwards: Whether lines and steps are taken from the last on.
        raw: `[S, B, D, M]`, delta with its bias.
        delta: `[S, B, D, M]`, step sizes.
        x: `[S, B, D, M]`.
        A: `[D, N, 1]`.
        B: `[S, B, 1, N, M]`.
        C: `[S, B, 1, N, M]`.
    """

    channels: slice
    rows: slice
    backwards: bool
    raw: Tensor
    delta: Tensor
    x: Tensor
    A: Tensor
    B: Tensor
    C: Tensor


def _to_lines(image: Tensor, by_columns: bool) -> Tensor:
    """`[B, D, H, W]` to `[steps, B, D, lines]`, contiguous."""
    return image.permute((2, 0, 1, 3) if by_columns else (3, 0, 1, 2)).contiguous()


def _to_image(lines: Tensor, by_columns: bool) -> Tensor:
    return lines.permute((1, 2, 0, 3) if by_columns else (1, 2, 3, 0))


def _directions(inputs: Inputs) -> Iterator[tuple[int, bool, _Lines]]:
    """Each direction, whether its lines are columns, and what it reads, a block of channels at a time."""
    x, delta, A, B, C, _, bias, softplus = inputs
    channels = x.shape[1]
    block = max(1, _STATES_AT_ONCE // (B[:, 0].numel()))
    for k in range(4):
        by_columns = k % 2 == 1
        Bk, Ck = (_to_lines(t[:, k], by_columns)[:, :, None] for t in (B, C))
        for first in range(0, channels, block):
            part = slice(first, min(first + block, channels))
            rows = slice(k * channels + part.start, k * channels + part.stop)
            raw = _to_lines(delta[:, k, part], by_columns)
            raw = raw if bias is None else raw + bias[rows, None]
            step = F.softplus(raw) if softplus else raw
            own = _to_lines(x[:, part], by_columns)
            yield k, by_columns, _Lines(part, rows, k >= 2, raw, step, own, A[rows, :, None], Bk, Ck)


def _recurrence(decay: Tensor, terms: Tensor, backwards: bool) -> Tensor:
    """`h_t = decay_t * h_{t-1} + terms_t` through all steps of all lines, in place of the terms.

    Args:
        decay: `[S, ..., M]`; overwritten.
        terms: `[S, ..., M]`.
        backwards: From the last step of the last line on.
    """
    steps, lines = range(len(terms)), range(terms.shape[-1])
    for before, now in pairwise(reversed(steps) if backwards else steps):
        terms[now].addcmul_(decay[now], terms[before])
        decay[now].mul_(decay[before])
    end = 0 if backwards else -1
    carry = torch.zeros_like(terms[end])
    for before, now in pairwise(reversed(lines) if backwards else lines):
        torch.addcmul(terms[end][..., before], decay[end][..., before], carry[..., before], out=carry[..., now])
    return terms.addcmul_(decay, carry)


def _terms(part: _Lines) -> tuple[Tensor, Tensor]:
    """Decays and what is added to the states, `[S, B, D, N, M]`."""
    decay = (part.delta[..., None, :] * part.A).exp_()
    return decay, (part.delta * part.x)[..., None, :] * part.B


def forward(inputs: Inputs) -> Tensor:
    """`[B, D, H, W]`."""
    y = torch.zeros_like(inputs.x)
    for _, by_columns, part in _directions(inputs):
        states = _recurrence(*_terms(part), part.backwards)
        out = states.mul_(part.C).sum(3)
        if inputs.D is not None:
            out.addcmul_(inputs.D[part.rows, None], part.x)
        y[:, part.channels] += _to_image(out, by_columns)
    return y


def _next(q: Tensor, backwards: bool) -> Tensor:
    """The value at the following step of the sequence; zero at the end."""
    result = torch.zeros_like(q)
    if backwards:
        result[1:] = q[:-1]
        result[0, ..., 1:] = q[-1, ..., :-1]
    else:
        result[:-1] = q[1:]
        result[-1, ..., :-1] = q[0, ..., 1:]
    return result


def backward(inputs: Inputs, g: Tensor) -> Gradients:
    """Gradients for all inputs from the output's gradient `g`."""
    gx, gdelta, gA, gB, gC = (torch.zeros_like(t) for t in inputs[:5])
    gD, gbias = (None if t is None else torch.zeros_like(t) for t in (inputs.D, inputs.delta_bias))
    for k, by_columns, part in _directions(inputs):
        gy = _to_lines(g[:, part.channels], by_columns)
        decay, terms = _terms(part)
        states = _recurrence(decay.clone(), terms.clone(), part.backwards)
        reading = gy[..., None, :] * part.C
        # The gradient of a state is what the output takes from it and what its decay passes to the next.
        passed = _recurrence(decay.clone(), decay.mul_(reading), not part.backwards)
        gstate = reading + _next(passed, part.backwards)

        gC[:, k] += _to_image((states * gy[..., None, :]).sum(2), by_columns)
        gB[:, k] += _to_image((gstate * (part.delta * part.x)[..., None, :]).sum(2), by_columns)
        through_decay = states.sub_(terms).mul_(gstate)
        from_input = gstate.mul_(part.B).sum(3)
        gstep = from_input * part.x + (through_decay * part.A).sum(3)
        gA[part.rows] += (through_decay * part.delta[..., None, :]).sum((0, 1, 4))
        own = from_input * part.delta
        if inputs.D is not None and gD is not None:
            own += inputs.D[part.rows, None] * gy
            gD[part.rows] += (gy * part.x).sum((0, 1, 3))
        gx[:, part.channels] += _to_image(own, by_columns)
        graw = gstep * torch.sigmoid(part.raw) if inputs.softplus else gstep
        gdelta[:, k, part.channels] = _to_image(graw, by_columns)
        if gbias is not None:
            gbias[part.rows] += graw.sum((0, 1, 3))
    return gx, gdelta, gA, gB, gC, gD, gbias
