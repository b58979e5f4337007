"""The selective scan in plain PyTorch, any device: exponentials a chunk at a time, one multiply-add for each token.

Where a token has too few states to keep the device busy, the sequence is cut into pieces that run side by side: the
state at the end of a piece is a sum, `sum_t exp(A * delta after t) * delta_t B_t u_t`, whose exponents are never
positive for A < 0; a scan over these sums tells each piece where to start.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .layout import Inputs, Sections
from .reference import Gradients

CHUNK = 32
_STATES_AT_ONCE = {"cpu": 1 << 10}
_STATES_AT_ONCE_ELSEWHERE = 1 << 20


class _Steps(NamedTuple):
    """Time first, in the order of the scan; R rows are batch * pieces.

    Attributes:
        u: `[M, R, X, S]`.
        delta: `[M, R, X, S]`, activated; zero behind the last token.
        A: `[X, S, N]`.
        B: `[M, R, X, N]`.
        C: `[M, R, X, N]`.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor


def pieces(batch: int, channels: int, tokens: int, states: int, device: str) -> int:
    """Into how many pieces the sequence is cut."""
    wanted = _STATES_AT_ONCE.get(device, _STATES_AT_ONCE_ELSEWHERE) // max(1, batch * channels * states)
    return max(1, min(wanted, tokens // (2 * CHUNK)))


def saved_shape(batch: int, channels: int, tokens: int, states: int, sections: Sections, device: str) -> list[int]:
    """Of the states that the forward pass keeps: those before each chunk."""
    parts = pieces(batch, channels, tokens, states, device)
    length = -(-tokens // parts)
    return [-(-length // CHUNK), batch * parts, len(sections.group), sections.size, states]


def _swapped(rows: Tensor) -> Tensor:
    """`[R, a, b]` as `[R, b, a]`, contiguous: a copy of a single matrix is PyTorch's fast one."""
    return torch.stack([row.t().contiguous() for row in rows])


def _time_first(x: Tensor, sections: Sections, parts: int) -> Tensor:
    """`[B, X, S, L]` as `[M, R, X, S]`, the reversed sections turned, padded with zeros."""
    x = sections.turn(x)
    length = -(-x.shape[-1] // parts)
    padded = F.pad(x, (0, parts * length - x.shape[-1])).unflatten(-1, (parts, length))
    rows = padded.permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)
    return _swapped(rows).unflatten(2, x.shape[1:3]).transpose(0, 1)


def _time_last(x: Tensor, sections: Sections, parts: int, tokens: int) -> Tensor:
    """The inverse of `_time_first`."""
    rows = _swapped(x.transpose(0, 1).flatten(2)).unflatten(1, x.shape[2:]).unflatten(0, (-1, parts))
    joined = rows.permute(0, 2, 3, 1, 4).flatten(-2)
    return sections.turn(joined[..., :tokens])


def _steps(inputs: Inputs, softplus: bool, sections: Sections, parts: int) -> tuple[_Steps, Tensor]:
    """The inputs time first, and delta before its softplus `[B, D, L]`."""
    raw = inputs.delta if inputs.delta_bias is None else inputs.delta + inputs.delta_bias[:, None]
    delta = F.softplus(raw) if softplus else raw
    u, delta = (_time_first(sections.split(x), sections, parts) for x in (inputs.u, delta))
    B, C = (_time_first(sections.spread(x), sections, parts) for x in (inputs.B, inputs.C))
    return _Steps(u, delta, sections.split(inputs.A[None])[0], B, C), raw


def _dot(states: Tensor, weights: Tensor) -> Tensor:
    """`[..., S, N]` and `[..., N]` to `[..., S]`."""
    if states.shape[-1] == 1:
        return states[..., 0] * weights
    return (states @ weights[..., None])[..., 0]


def _ends(A: Tensor, age: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """`sum_t exp(A * age_t) * x_t * weights_t`, `[R, X, S, N]`."""
    total = torch.zeros((*x.shape[1:], A.shape[-1]), dtype=x.dtype, device=x.device)
    for ages, xs, ws in zip(age.split(CHUNK), x.split(CHUNK), weights.split(CHUNK), strict=True):
        terms = torch.exp(ages[..., None] * A).mul_(xs[..., None])
        total += torch.einsum("trxsn,trxn->rxsn", terms, ws)
    return total


def _carried(start: Tensor, ends: Tensor, decay: Tensor, parts: int, *, backwards: bool) -> tuple[Tensor, Tensor]:
    """State before each piece `[R, X, S, N]`, and after the last; `start` is `[B, X, S, N]`."""
    ends, decay = (x.unflatten(0, (-1, parts)) for x in (ends, decay))
    before = torch.empty_like(ends)
    for part in reversed(range(parts)) if backwards else range(parts):
        before[:, part] = start
        start = torch.addcmul(ends[:, part], decay[:, part], start)
    return before.flatten(0, 1), start


def _start(steps: _Steps, parts: int) -> Tensor:
    """State before each piece."""
    state = torch.zeros((*steps.u.shape[1:], steps.A.shape[-1]), dtype=steps.u.dtype, device=steps.u.device)
    if parts == 1:
        return state
    after = steps.delta.flip(0).cumsum(0).flip(0)
    ends = _ends(steps.A, after - steps.delta, steps.delta * steps.u, steps.B)
    decay = torch.exp(after[0][..., None] * steps.A)
    return _carried(state[::parts], ends, decay, parts, backwards=False)[0]


def _decays_and_terms(steps: _Steps, chunk: slice) -> tuple[Tensor, Tensor]:
    """Factor and summand of every state at every token of a chunk, `[Q, R, X, S, N]`."""
    delta = steps.delta[chunk]
    decays = torch.exp_(delta[..., None] * steps.A)
    return decays, (delta * steps.u[chunk])[..., None] * steps.B[chunk][..., None, :]


def forward(inputs: Inputs, softplus: bool, sections: Sections, *, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output `[B, D, L]`, last state `[B, D, N]` and, where `save`, the state before each chunk."""
    batch, channels, tokens = inputs.u.shape
    parts = pieces(batch, channels, tokens, inputs.A.shape[1], inputs.u.device.type)
    steps, _ = _steps(inputs, softplus, sections, parts)
    state = _start(steps, parts)
    y = torch.empty_like(steps.u)
    kept = []
    for first in range(0, len(y), CHUNK):
        chunk = slice(first, first + CHUNK)
        if save:
            kept.append(state)
        decays, states = _decays_and_terms(steps, chunk)
        for decay, term in zip(decays, states, strict=True):
            state = term.addcmul_(decay, state)
        y[chunk] = _dot(states, steps.C[chunk])
    out = _time_last(y, sections, parts, tokens).flatten(1, 2)
    if inputs.D is not None:
        out = torch.addcmul(out, inputs.D[:, None], inputs.u)
    if inputs.z is not None:
        out = out * F.silu(inputs.z)
    last = state.unflatten(0, (batch, parts))[:, -1].flatten(1, 2)
    return out, last, torch.stack(kept) if save else None


def backward(
    inputs: Inputs, softplus: bool, sections: Sections, saved: Tensor, g: Tensor, g_last: Tensor | None
) -> Gradients:
    """Gradients for all inputs from those of the output and of the last state, with the states that `forward` kept."""
    batch, channels, tokens = inputs.u.shape
    parts = pieces(batch, channels, tokens, inputs.A.shape[1], inputs.u.device.type)
    steps, raw = _steps(inputs, softplus, sections, parts)
    gate = None if inputs.z is None else torch.sigmoid(inputs.z)
    gy = g if inputs.z is None or gate is None else g * inputs.z * gate
    turned = _time_first(sections.split(gy), sections, parts)

    carry = torch.zeros_like(saved[0]) if g_last is None else _last_only(sections.split(g_last), parts)
    if parts > 1:
        passed = steps.delta.cumsum(0)
        ends = _ends(steps.A, passed, turned, steps.C)
        decay = torch.exp(passed[-1][..., None] * steps.A)
        carry = _carried(carry[parts - 1 :: parts], ends, decay, parts, backwards=True)[0]

    y, from_input, gdelta = (torch.empty_like(steps.u) for _ in range(3))
    gB, gC = torch.empty_like(steps.B), torch.empty_like(steps.C)
    gA = torch.zeros_like(steps.A)
    for index in reversed(range(len(saved))):
        chunk = slice(index * CHUNK, (index + 1) * CHUNK)
        decays, states = _decays_and_terms(steps, chunk)
        kept = torch.empty_like(states)
        state = saved[index]
        for decay, term, before in zip(decays, states, kept, strict=True):
            torch.mul(decay, state, out=before)
            state = term.add_(before)
        grads = turned[chunk][..., None] * steps.C[chunk][..., None, :]
        for decay, grad in zip(decays.unbind()[::-1], grads.unbind()[::-1], strict=True):
            carry = decay * grad.add_(carry)
        y[chunk] = _dot(states, steps.C[chunk])
        from_input[chunk] = _dot(grads, steps.B[chunk])
        gB[chunk] = torch.einsum("trxsn,trxs->trxn", grads, steps.delta[chunk] * steps.u[chunk])
        gC[chunk] = torch.einsum("trxsn,trxs->trxn", states, turned[chunk])
        through = kept.mul_(grads)
        gA += torch.einsum("trxsn,trxs->xsn", through, steps.delta[chunk])
        gdelta[chunk] = torch.einsum("trxsn,xsn->trxs", through, steps.A)

    def restore(x: Tensor) -> Tensor:
        return _time_last(x, sections, parts, tokens)

    gu = restore(steps.delta * from_input).flatten(1, 2)
    graw = restore(gdelta + steps.u * from_input).flatten(1, 2)
    graw = graw * torch.sigmoid(raw) if softplus else graw
    gB, gC = (sections.gather(restore(x), inputs.B.shape[1]) for x in (gB, gC))
    gD = gz = None
    if inputs.z is not None and gate is not None:
        ungated = restore(y).flatten(1, 2)
        ungated = ungated if inputs.D is None else torch.addcmul(ungated, inputs.D[:, None], inputs.u)
        gz = g * ungated * gate * (1 + inputs.z * (1 - gate))
    if inputs.D is not None:
        gu = torch.addcmul(gu, inputs.D[:, None], gy)
        gD = (gy * inputs.u).sum((0, 2))
    gbias = None if inputs.delta_bias is None else graw.sum((0, 2))
    return gu, graw, gA.flatten(0, 1), gB, gC, gD, gz, gbias


def _last_only(x: Tensor, parts: int) -> Tensor:
    """`[B, X, S, N]` as that of the last piece `[R, X, S, N]`, zero for the others."""
    rows = x.new_zeros(x.shape[0], parts, *x.shape[1:])
    rows[:, -1] = x
    return rows.flatten(0, 1)
