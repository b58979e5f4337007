"""The forward pass of Bi-WKV on the CPU: the tokens of every chunk, from what came before and behind it."""

from __future__ import annotations

import numpy as np

from ..compiled import kernel, log32
from ..cpu_math import sigmoid
from .cpu_scan import CHUNK, Array, add_pair, merge, place


@kernel
def _emit(
    left: Array,
    right: Array,
    row: int,
    before: float,
    after: float,
    k: Array,
    v: Array,
    decay: Array,
    bonus: Array,
    y: Array,
    logsum: Array,
) -> None:
    log_row = row if logsum.shape[0] > 1 else 0
    for c in range(decay.size):
        sides, from_left, from_right = merge(left[0, c] - before * decay[c], right[0, c] - after * decay[c])
        top, others, own = merge(sides, k[row, c] + bonus[c])
        total = others * (from_left * left[2, c] + from_right * right[2, c]) + own
        weighted = others * (from_left * left[1, c] + from_right * right[1, c]) + own * v[row, c]
        y[row, c] = weighted / total
        logsum[log_row, c] = top + log32(total)


@kernel
def _apply_gate(y: Array, row: int, gate: Array, kept: Array) -> None:
    """Gates a row in place after keeping a copy."""
    kept_row = row if kept.shape[0] > 1 else 0
    for c in range(y.shape[1]):
        value = y[row, c]
        kept[kept_row, c] = value
        y[row, c] = value * sigmoid(gate[row, c])


@kernel
def forward_tokens(
    first: int,
    last: int,
    k: Array,
    v: Array,
    decay: Array,
    bonus: Array,
    tokens: int,
    chunks: int,
    states: Array,
    y: Array,
    logsum: Array,
    gate: Array,
    kept: Array,
) -> None:
    """Writes `y`, gated if there is a gate, and where they are kept the log-denominators and `y` before the gate."""
    left = np.empty((2, 3, decay.size), np.float32)
    right = np.empty((CHUNK, 3, decay.size), np.float32)
    for item in range(first, last):
        row, length = place(item, tokens, chunks)
        left[0] = states[0, item]
        right[length - 1] = states[1, item]
        for p in range(length - 1, 0, -1):
            add_pair(right[p], right[p - 1], row + p, np.float32(length - 1 - p), k, v, decay)
        for p in range(length):
            old, new = left[p % 2], left[(p + 1) % 2]
            _emit(old, right[p], row + p, np.float32(p - 1), np.float32(length - 2 - p), k, v, decay, bonus, y, logsum)
            if gate.shape[0] > 0:
                _apply_gate(y, row + p, gate, kept)
            add_pair(old, new, row + p, np.float32(p), k, v, decay)
