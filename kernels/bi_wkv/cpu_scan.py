"""What both passes of Bi-WKV on the CPU share: log-sum-exp states, summaries of chunks, the scan over the summaries.

A state is `[rows, C]`: the largest shifted key, then two sums relative to it, and in the backward pass their moments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import exp32, inlined, kernel

CHUNK = 32

_NOTHING = np.float32(-1e30)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

Array = NDArray[Any]


@inlined
def merge(old: Any, key: Any) -> Any:
    """The larger exponent, and the factors that bring the old sums and the new term to it."""
    ahead = old - key
    other = exp32(-ahead if ahead > _ZERO else ahead)
    return (old, _ONE, other) if ahead > _ZERO else (key, other, _ONE)


@inlined
def place(item: int, tokens: int, chunks: int) -> Any:
    """First row of a chunk in `[B * T, C]` and its length."""
    start = item % chunks * CHUNK
    return item // chunks * tokens + start, min(CHUNK, tokens - start)


@kernel
def _clear(state: Array) -> None:
    for c in range(state.shape[1]):
        state[0, c] = _NOTHING
    for part in range(1, state.shape[0]):
        for c in range(state.shape[1]):
            state[part, c] = _ZERO


@kernel
def add_pair(old: Array, new: Array, row: int, position: float, k: Array, v: Array, decay: Array) -> None:
    """Adds a token to a state."""
    for c in range(decay.size):
        top, kept, added = merge(old[0, c], k[row, c] + position * decay[c])
        new[0, c] = top
        new[1, c] = old[1, c] * kept + added * v[row, c]
        new[2, c] = old[2, c] * kept + added


@kernel
def add_moments(
    old: Array, new: Array, row: int, position: float, g: Array, y: Array, logsum: Array, decay: Array
) -> None:
    """Adds a token to a state with moments."""
    for c in range(decay.size):
        top, kept, scale = merge(old[0, c], position * decay[c] - logsum[row, c])
        added = scale * g[row, c]
        new[0, c] = top
        new[1, c] = old[1, c] * kept + added
        new[2, c] = old[2, c] * kept + added * y[row, c]
        new[3, c] = (old[3, c] + old[1, c]) * kept
        new[4, c] = (old[4, c] + old[2, c]) * kept


@kernel
def summaries(
    first: int,
    last: int,
    keys: Array,
    values: Array,
    outputs: Array,
    decay: Array,
    tokens: int,
    chunks: int,
    states: Array,
) -> None:
    """The state of every chunk at its last token, and at its first; with moments if a state has five rows.

    `keys` are then the log-denominators, `values` the gradients of the `outputs`, which without moments are not read.
    """
    work = np.empty((2, states.shape[2], decay.size), np.float32)
    for item in range(first, last):
        row, length = place(item, tokens, chunks)
        for direction in range(2):
            _clear(work[0])
            for p in range(length):
                r = row + p if direction == 0 else row + length - 1 - p
                old, new, position = work[p % 2], work[(p + 1) % 2], np.float32(p - length + 1)
                if states.shape[2] > 3:
                    add_moments(old, new, r, position, values, outputs, keys, decay)
                else:
                    add_pair(old, new, r, position, keys, values, decay)
            states[direction, item] = work[length % 2]


@kernel
def carry(first: int, last: int, decay: Array, tokens: int, chunks: int, states: Array) -> None:
    """Replaces the states of chunks by those of all chunks before, or behind."""
    parts, channels = states.shape[2], decay.size
    work = np.empty((parts + 2, channels), np.float64)
    for item in range(first, last):
        direction, batch = item % 2, item // 2
        work[0] = _NOTHING
        work[1:] = 0.0
        for step in range(chunks):
            chunk = step if direction == 0 else chunks - 1 - step
            length = np.float64(min(CHUNK, tokens - chunk * CHUNK))
            state = states[direction, batch * chunks + chunk]
            _carry_top(state[0], work[0], work[parts], work[parts + 1], decay, length)
            for part in range(parts - 1, 0, -1):
                age = length if part > 2 else 0.0
                younger = work[part - 2] if part > 2 else work[part]
                _carry_sum(state[part], work[part], younger, age, work[parts], work[parts + 1])


@kernel
def _carry_top(state: Array, top: Array, kept: Array, added: Array, decay: Array, length: float) -> None:
    for c in range(decay.size):
        aged = top[c] - length * decay[c]
        ahead = aged - state[c]
        other = np.float64(exp32(np.float32(-abs(ahead))))
        kept[c] = _ONE if ahead > _ZERO else other
        added[c] = other if ahead > _ZERO else _ONE
        # Shifted by one decay: what the first token of the chunk reads has distance 0.
        outgoing = np.float32(top[c] - decay[c])
        top[c] = aged if ahead > _ZERO else np.float64(state[c])
        state[c] = outgoing


@kernel
def _carry_sum(state: Array, total: Array, younger: Array, age: float, kept: Array, added: Array) -> None:
    for c in range(state.size):
        before = total[c]
        total[c] = (before + age * younger[c]) * kept[c] + state[c] * added[c]
        state[c] = np.float32(before)
