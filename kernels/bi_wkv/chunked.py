"""Bi-WKV in plain PyTorch: O(T), any device, stable for any decay and key.

Tokens are cut into about sqrt(T) chunks of about sqrt(T) tokens. A loop over the position inside a chunk serves all
chunks at once, a loop over the chunks carries their sums; both keep sums relative to the largest exponent met so far.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# An exponent of nothing; unlike minus infinity it has differences.
_NOTHING = -1e30


class Sums(NamedTuple):
    """Sums of `exp(key) * value` for n kinds of values, to be multiplied by `exp(top)`.

    Attributes:
        top: `[...]`, very small where there is nothing to sum over.
        sums: `[n, ...]`.
        moments: `[n, ...]`, the terms weighted by their distance, if asked for.
    """

    top: Tensor
    sums: Tensor
    moments: Tensor | None


def _prefix(terms: Sums, decay: Tensor, age: int) -> tuple[Sums, Sums]:
    """Sums before each entry along the last but one dimension, and over all, every older entry `decay` weaker."""
    length = terms.top.shape[-2]
    top = torch.full_like(terms.top[..., 0, :], _NOTHING)
    sums = torch.zeros_like(terms.sums[..., 0, :])
    moments = None if terms.moments is None else torch.zeros_like(sums)
    tops, totals, weighted = [], [], []
    for p in range(length):
        tops.append(top)
        totals.append(sums)
        # Shifted keys `key_p + p * decay` never need decrementing, so nothing drifts.
        key = terms.top[..., p, :] + p * decay
        larger = torch.maximum(top, key)
        kept, added = torch.exp(top - larger), torch.exp(key - larger)
        if moments is not None and terms.moments is not None:
            weighted.append(moments)
            moments = (moments + age * sums) * kept + terms.moments[..., p, :] * added
        sums = sums * kept + terms.sums[..., p, :] * added
        top = larger
    position = torch.arange(length, device=decay.device, dtype=decay.dtype)[:, None]
    before = Sums(
        torch.stack(tops, -2) - (position - 1) * decay,
        torch.stack(totals, -2),
        None if moments is None else torch.stack(weighted, -2),
    )
    return before, Sums(top - (length - 1) * decay, sums, moments)


def directional_sums(
    keys: Tensor, values: tuple[Tensor, ...], decay: Tensor, *, reverse: bool, moments: bool = False
) -> Sums:
    """Sums over all earlier (`reverse`: later) tokens, `sum_{i<t} exp(keys_i - (t-1-i) * decay) * value_i`.

    Args:
        keys: `[B, T, C]`.
        values: n tensors `[B, T, C]`.
        decay: `[C]`.
        reverse: Sum over i > t, with the distance i-1-t.
        moments: Also the sums weighted by that distance.
    """
    batch, tokens, channels = keys.shape
    stacked = torch.stack(values)
    if reverse:
        keys, stacked = keys.flip(1), stacked.flip(2)
    length = math.isqrt(tokens - 1) + 1
    chunks = -(-tokens // length)
    padding = (0, 0, 0, chunks * length - tokens)
    # A token may be left out by a key of minus infinity.
    keys = F.pad(keys.clamp_min(_NOTHING), padding, value=_NOTHING).view(batch, chunks, length, channels)
    stacked = F.pad(stacked, padding).view(len(values), batch, chunks, length, channels)

    local, chunk = _prefix(Sums(keys, stacked, torch.zeros_like(stacked) if moments else None), decay, age=1)
    carry, _ = _prefix(chunk, length * decay, age=length)

    position = torch.arange(length, device=keys.device, dtype=keys.dtype)[:, None]
    carry_top = carry.top[..., None, :] - position * decay
    top = torch.maximum(local.top, carry_top)
    kept, added = torch.exp(carry_top - top), torch.exp(local.top - top)
    carried = carry.sums[..., None, :]

    def restore(tensor: Tensor) -> Tensor:
        flat = tensor.flatten(-3, -2)[..., :tokens, :]
        return flat.flip(-2) if reverse else flat

    weighted = None
    if carry.moments is not None and local.moments is not None:
        weighted = restore((carry.moments[..., None, :] + position * carried) * kept + local.moments * added)
    return Sums(restore(top), restore(carried * kept + local.sums * added), weighted)


def forward(decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Output and the logarithm of each denominator, `[B, T, C]`, in the inputs' common dtype."""
    values = (v, torch.ones_like(v))
    left = directional_sums(k, values, decay, reverse=False)
    right = directional_sums(k, values, decay, reverse=True)
    self_top = k + bonus
    top = torch.maximum(torch.maximum(left.top, right.top), self_top)
    own = torch.exp(self_top - top)
    sums = torch.exp(left.top - top) * left.sums + torch.exp(right.top - top) * right.sums
    total = sums[1] + own
    return (sums[0] + own * v) / total, top + total.log()


def backward_from_weights(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, y: Tensor, logsum: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay, bonus, k and v where token i weighs `exp(k_i - (|t-i|-1) * decay - logsum_t)` at t."""
    gv = torch.exp(k + bonus - logsum) * g
    gk = gv * (v - y)
    gbonus = gk.sum((0, 1))
    gdecay = torch.zeros_like(decay)
    for reverse in (False, True):
        top, sums, moments = directional_sums(-logsum, (g, g * y), decay, reverse=reverse, moments=True)
        assert moments is not None
        weight = torch.exp(k + top)
        gv = gv + weight * sums[0]
        gk = gk + weight * (v * sums[0] - sums[1])
        gdecay = gdecay - (weight * (v * moments[0] - moments[1])).sum((0, 1))
    return gdecay, gbonus, gk, gv
