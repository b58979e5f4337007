"""The backward pass of Bi-WKV on the CPU: the gradients of the tokens of every chunk.

It runs the scans of the forward pass over the keys `-logsum` with the values `g` and `g * y`, each with its
distance-weighted companion, from which the gradient of the decay is made.
"""

from __future__ import annotations

import numpy as np

from ..compiled import exp32, kernel
from ..cpu_math import sigmoid
from .cpu_scan import CHUNK, Array, add_moments, place

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def _emit_gradients(
    left: Array,
    right: Array,
    row: int,
    before: float,
    after: float,
    k: Array,
    v: Array,
    y: Array,
    logsum: Array,
    g: Array,
    decay: Array,
    bonus: Array,
    gk: Array,
    gv: Array,
    partial: Array,
) -> None:
    for c in range(decay.size):
        key = k[row, c]
        before_scale = exp32(key + (left[0, c] - before * decay[c]))
        after_scale = exp32(key + (right[0, c] - after * decay[c]))
        own = exp32(key + bonus[c] - logsum[row, c]) * g[row, c]
        value = v[row, c]
        from_g = before_scale * left[1, c] + after_scale * right[1, c] + own
        from_h = before_scale * left[2, c] + after_scale * right[2, c] + own * y[row, c]
        gv[row, c] = from_g
        gk[row, c] = value * from_g - from_h
        far_g = before_scale * left[3, c] + after_scale * right[3, c]
        far_h = before_scale * left[4, c] + after_scale * right[4, c]
        partial[0, c] += far_h - value * far_g
        partial[1, c] += own * (value - y[row, c])


@kernel
def backward_tokens(
    first: int,
    last: int,
    k: Array,
    v: Array,
    y: Array,
    logsum: Array,
    g: Array,
    decay: Array,
    bonus: Array,
    tokens: int,
    chunks: int,
    states: Array,
    gk: Array,
    gv: Array,
    partials: Array,
) -> None:
    """Writes `gk` and `gv`, and the chunk's shares of the gradients for decay and bonus, `partials`."""
    left = np.empty((2, 5, decay.size), np.float32)
    right = np.empty((CHUNK, 5, decay.size), np.float32)
    for item in range(first, last):
        row, length = place(item, tokens, chunks)
        left[0] = states[0, item]
        right[length - 1] = states[1, item]
        partials[item] = _ZERO
        for p in range(length - 1, 0, -1):
            add_moments(right[p], right[p - 1], row + p, np.float32(length - 1 - p), g, y, logsum, decay)
        for p in range(length):
            old, new = left[p % 2], left[(p + 1) % 2]
            _emit_gradients(
                old,
                right[p],
                row + p,
                np.float32(p - 1),
                np.float32(length - 2 - p),
                k,
                v,
                y,
                logsum,
                g,
                decay,
                bonus,
                gk,
                gv,
                partials[item],
            )
            add_moments(old, new, row + p, np.float32(p), g, y, logsum, decay)


@kernel
def gate_gradients(first: int, last: int, gate: Array, y: Array, g: Array, before_gate: Array, ggate: Array) -> None:
    """Writes the gradients of the output before the gate and of the gate."""
    for row in range(first, last):
        for c in range(gate.shape[1]):
            share = sigmoid(gate[row, c])
            gated = g[row, c] * share
            before_gate[row, c] = gated
            ggate[row, c] = gated * y[row, c] * (_ONE - share)
