"""What Vision-RWKV's CUDA kernel computes instead of the equation: `convention="cuda"`.

The kernel cuts the tokens into at most 32 chunks. Tokens of earlier chunks and all later tokens weigh one factor
`exp(-decay)` less than the equation says; only the earlier tokens of the same chunk weigh as it says. Inside a chunk it
takes tokens out of the sum over later ones by subtraction, which, started one factor off, leaves
`-(exp(decay) - 1) * exp(decay * (t - i))` times token i behind for every token i passed since the chunk's first.
It adds 1e-6 to the denominator, relative to the largest exponent met. Its backward pass differentiates this for decay
and bonus, but takes the equation's weights for k and v.

All sums are in float64, so the kernel's own float32 cancellation is not reproduced.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .chunked import backward_from_weights

_CHUNKS = 32
_EPSILON = 1e-6
_NOTHING = -1e30


class _State(NamedTuple):
    """Sums over tokens of `exp(key) * (value, 1)`, to be multiplied by `exp(top)`.

    `sums` is `[2, ...]`, or `[4, ...]` with the derivatives of both for decay behind them.
    """

    top: Tensor
    sums: Tensor

    def shifted(self, decay: Tensor, steps: int) -> _State:
        """The state times `exp(steps * decay)`, with the derivative that brings."""
        sums = self.sums
        if len(sums) == 4:
            sums = torch.cat((sums[:2], sums[2:] + steps * sums[:2]))
        return _State(self.top + steps * decay, sums)

    def plus(self, other: _State) -> _State:
        top = torch.maximum(self.top, other.top)
        return _State(top, torch.exp(self.top - top) * self.sums + torch.exp(other.top - top) * other.sums)


def _summary(keys: Tensor, pairs: Tensor, decay: Tensor, distance: Tensor) -> _State:
    """All tokens of each chunk, `[B, chunks, L, C]`, at `distance` `[L, 1]`, as `[B, chunks, C]`."""
    shifted = keys - distance * decay
    top = shifted.amax(2)
    weighted = torch.exp(shifted - top[:, :, None]) * pairs
    if len(weighted) == 4:
        weighted[2:] = -distance * weighted[:2]
    return _State(top, weighted.sum(3))


def _stack(states: list[_State]) -> _State:
    return _State(torch.stack([state.top for state in states], 1), torch.stack([state.sums for state in states], 2))


class _Walk(NamedTuple):
    """Per token `[B, T, C]`: output, denominator relative to `exp(top)`, `top`, and the output's slope in decay."""

    y: Tensor
    total: Tensor
    top: Tensor
    slope: Tensor


def _walk(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, *, slopes: bool) -> _Walk:
    batch, tokens, channels = k.shape
    length = -(-tokens // _CHUNKS)
    chunks = -(-tokens // length)
    padding = (0, 0, 0, chunks * length - tokens)
    keys = F.pad(k, padding, value=_NOTHING).view(batch, chunks, length, channels)
    values = F.pad(v, padding).view(batch, chunks, length, channels)
    pairs = values.new_zeros((4 if slopes else 2, *values.shape))
    pairs[0], pairs[1] = values, 1.0
    position = torch.arange(length, device=k.device, dtype=k.dtype)[:, None]

    passed = _summary(keys, pairs, decay, length - position)
    ahead = _summary(keys, pairs, decay, position)
    nothing = _State(torch.full_like(k[:, 0], _NOTHING), torch.zeros_like(pairs[:, :, 0, 0]))
    before, after = [nothing], [nothing]
    for j in range(chunks - 1):
        last = chunks - 1 - j
        before.append(before[-1].shifted(decay, -length).plus(_State(passed.top[:, j], passed.sums[:, :, j])))
        after.append(after[-1].shifted(decay, -length).plus(_State(ahead.top[:, last], ahead.sums[:, :, last])))
    left = _stack(before)
    # The sum over later tokens starts without the chunk's first token, but with its exponent in the maximum.
    right = _stack(after[::-1]).shifted(decay, -length).plus(_summary(keys, pairs * (position > 0), decay, position))

    steps = []
    for p in range(length):
        token = _State(keys[:, :, p], pairs[:, :, :, p])
        self_top = bonus + token.top
        top = torch.maximum(torch.maximum(left.top, right.top), self_top)
        sums = torch.exp(left.top - top) * left.sums + torch.exp(right.top - top) * right.sums
        sums = sums + torch.exp(self_top - top) * token.sums
        total = sums[1] + _EPSILON
        y = sums[0] / total
        steps.append(_Walk(y, total, top, (sums[2] - y * sums[3]) / total if slopes else y))
        left = left.shifted(decay, -1).plus(token)
        if p + 1 < length:
            right = right.plus(_State(keys[:, :, p + 1], -pairs[:, :, :, p + 1])).shifted(decay, 1)
    return _Walk(*(torch.stack(parts, 2).flatten(1, 2)[:, :tokens] for parts in zip(*steps, strict=True)))


def forward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The kernel's output, `[B, T, C]`, float64."""
    decay, bonus, k, v = (tensor.double() for tensor in (decay, bonus, k, v))
    return _walk(decay, bonus, k, v, slopes=False).y


def backward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The kernel's own gradients for decay, bonus, k and v (not the derivative of `forward` for k and v), float64."""
    decay, bonus, k, v, g = (tensor.double() for tensor in (decay, bonus, k, v, g))
    walk = _walk(decay, bonus, k, v, slopes=True)
    # Denominators may be negative after subtraction, so their sign goes to the gradient and not into a logarithm.
    _, gbonus, gk, gv = backward_from_weights(decay, bonus, k, v, walk.y, walk.top, g / walk.total)
    return (g * walk.slope).sum((0, 1)), gbonus, gk, gv
