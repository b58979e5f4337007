"""Bi-WKV on the CPU: numba, float32, O(T), vectorised over channels and parallel over chunks of tokens.

Both directions are log-sum-exp prefix sums over keys shifted by the position inside a chunk, `key_p + p * decay`,
so that no exponent is decremented step by step (which drifts in float32). Three passes: summaries of all chunks
(parallel), a scan over the summaries (float64 sums), the tokens of all chunks (parallel).
The backward pass runs the same scans over the keys `-logsum` with the values `g` and `g * y`, each with its
distance-weighted companion, from which the gradient of the decay is made.

A state is `[rows, C]`: the largest shifted key, then the sums relative to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiled import exp32, inlined, kernel, log32
from ..threads import parallel_for

CHUNK = 32

_NOTHING = np.float32(-1e30)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

Array = NDArray[Any]


@inlined
def _merge(old: Any, key: Any) -> Any:
    """The larger exponent, and the factors that bring the old sums and the new term to it."""
    ahead = old - key
    other = exp32(-ahead if ahead > _ZERO else ahead)
    return (old, _ONE, other) if ahead > _ZERO else (key, other, _ONE)


@kernel
def _clear(state: Array) -> None:
    for c in range(state.shape[1]):
        state[0, c] = _NOTHING
    for part in range(1, state.shape[0]):
        for c in range(state.shape[1]):
            state[part, c] = _ZERO


@kernel
def _add_pair(old: Array, new: Array, row: int, position: float, k: Array, v: Array, decay: Array) -> None:
    for c in range(decay.size):
        top, kept, added = _merge(old[0, c], k[row, c] + position * decay[c])
        new[0, c] = top
        new[1, c] = old[1, c] * kept + added * v[row, c]
        new[2, c] = old[2, c] * kept + added


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
        sides, from_left, from_right = _merge(left[0, c] - before * decay[c], right[0, c] - after * decay[c])
        top, others, own = _merge(sides, k[row, c] + bonus[c])
        total = others * (from_left * left[2, c] + from_right * right[2, c]) + own
        weighted = others * (from_left * left[1, c] + from_right * right[1, c]) + own * v[row, c]
        y[row, c] = weighted / total
        logsum[log_row, c] = top + log32(total)


@inlined
def _sigmoid(x: Any) -> Any:
    small = exp32(-abs(x))
    return (_ONE if x > _ZERO else small) / (_ONE + small)


@kernel
def _apply_gate(y: Array, row: int, gate: Array, kept: Array) -> None:
    """Gates a row in place after keeping a copy."""
    kept_row = row if kept.shape[0] > 1 else 0
    for c in range(y.shape[1]):
        value = y[row, c]
        kept[kept_row, c] = value
        y[row, c] = value * _sigmoid(gate[row, c])


@kernel
def _forward_summaries(
    first: int, last: int, k: Array, v: Array, decay: Array, tokens: int, chunks: int, states: Array
) -> None:
    work = np.empty((2, states.shape[2], decay.size), np.float32)
    for item in range(first, last):
        start = item % chunks * CHUNK
        length = min(CHUNK, tokens - start)
        row = item // chunks * tokens + start
        for direction in range(2):
            _clear(work[0])
            for p in range(length):
                r = row + p if direction == 0 else row + length - 1 - p
                _add_pair(work[p % 2], work[(p + 1) % 2], r, np.float32(p - length + 1), k, v, decay)
            states[direction, item] = work[length % 2]


@kernel
def _forward_tokens(
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
    left = np.empty((2, 3, decay.size), np.float32)
    right = np.empty((CHUNK, 3, decay.size), np.float32)
    for item in range(first, last):
        start = item % chunks * CHUNK
        length = min(CHUNK, tokens - start)
        row = item // chunks * tokens + start
        left[0] = states[0, item]
        right[length - 1] = states[1, item]
        for p in range(length - 1, 0, -1):
            _add_pair(right[p], right[p - 1], row + p, np.float32(length - 1 - p), k, v, decay)
        for p in range(length):
            old, new = left[p % 2], left[(p + 1) % 2]
            _emit(old, right[p], row + p, np.float32(p - 1), np.float32(length - 2 - p), k, v, decay, bonus, y, logsum)
            if gate.shape[0] > 0:
                _apply_gate(y, row + p, gate, kept)
            _add_pair(old, new, row + p, np.float32(p), k, v, decay)


@kernel
def _carry(first: int, last: int, decay: Array, tokens: int, chunks: int, states: Array) -> None:
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


@kernel
def _add_moments(
    old: Array, new: Array, row: int, position: float, g: Array, y: Array, logsum: Array, decay: Array
) -> None:
    for c in range(decay.size):
        top, kept, scale = _merge(old[0, c], position * decay[c] - logsum[row, c])
        added = scale * g[row, c]
        new[0, c] = top
        new[1, c] = old[1, c] * kept + added
        new[2, c] = old[2, c] * kept + added * y[row, c]
        new[3, c] = (old[3, c] + old[1, c]) * kept
        new[4, c] = (old[4, c] + old[2, c]) * kept


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
def _backward_summaries(
    first: int, last: int, g: Array, y: Array, logsum: Array, decay: Array, tokens: int, chunks: int, states: Array
) -> None:
    work = np.empty((2, states.shape[2], decay.size), np.float32)
    for item in range(first, last):
        start = item % chunks * CHUNK
        length = min(CHUNK, tokens - start)
        row = item // chunks * tokens + start
        for direction in range(2):
            _clear(work[0])
            for p in range(length):
                r = row + p if direction == 0 else row + length - 1 - p
                _add_moments(work[p % 2], work[(p + 1) % 2], r, np.float32(p - length + 1), g, y, logsum, decay)
            states[direction, item] = work[length % 2]


@kernel
def _backward_tokens(
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
    left = np.empty((2, 5, decay.size), np.float32)
    right = np.empty((CHUNK, 5, decay.size), np.float32)
    for item in range(first, last):
        start = item % chunks * CHUNK
        length = min(CHUNK, tokens - start)
        row = item // chunks * tokens + start
        left[0] = states[0, item]
        right[length - 1] = states[1, item]
        partials[item] = _ZERO
        for p in range(length - 1, 0, -1):
            _add_moments(right[p], right[p - 1], row + p, np.float32(length - 1 - p), g, y, logsum, decay)
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
            _add_moments(old, new, row + p, np.float32(p), g, y, logsum, decay)


def _rows(tensor: Tensor) -> Array:
    """`[B, T, C]` float32, contiguous, as `[B * T, C]` in numpy."""
    array: Array = tensor.detach().reshape(-1, tensor.shape[-1]).numpy()
    return array


def forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, *, gate: Tensor | None = None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output; where `save`, the output before the gate (if gated) and the log-denominators. Contiguous float32.

    What is not there is empty.
    """
    batch, tokens, channels = v.shape
    chunks = -(-tokens // CHUNK)
    out = torch.empty_like(v)
    y = torch.empty_like(v) if save and gate is not None else v.new_empty(0)
    logsum = torch.empty_like(v) if save else v.new_empty(0)
    states = np.empty((2, batch * chunks, 3, channels), np.float32)
    lam, own, keys, values = decay.detach().numpy(), bonus.detach().numpy(), _rows(k), _rows(v)
    gates = np.empty((0, channels), np.float32) if gate is None else _rows(gate)
    # What is not saved goes to a scratch row.
    logs = _rows(logsum) if save else np.empty((1, channels), np.float32)
    kept = _rows(y) if y.numel() else np.empty((1, channels), np.float32)
    parallel_for(_forward_summaries, batch * chunks, keys, values, lam, tokens, chunks, states)
    parallel_for(_carry, 2 * batch, lam, tokens, chunks, states)
    parallel_for(
        _forward_tokens,
        batch * chunks,
        keys,
        values,
        lam,
        own,
        tokens,
        chunks,
        states,
        _rows(out),
        logs,
        gates,
        kept,
    )
    return out, y, logsum


@kernel
def _gate_gradients(first: int, last: int, gate: Array, y: Array, g: Array, before_gate: Array, ggate: Array) -> None:
    for row in range(first, last):
        for c in range(gate.shape[1]):
            share = _sigmoid(gate[row, c])
            gated = g[row, c] * share
            before_gate[row, c] = gated
            ggate[row, c] = gated * y[row, c] * (_ONE - share)


def gate_gradients(gate: Tensor, y: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the output before the gate, `y`, and of the gate; contiguous float32 throughout."""
    before_gate, ggate = torch.empty_like(g), torch.empty_like(g)
    rows = _rows(g)
    parallel_for(
        _gate_gradients, rows.shape[0], _rows(gate), _rows(y), rows, _rows(before_gate), _rows(ggate), grain=CHUNK
    )
    return before_gate, ggate


def backward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, y: Tensor, logsum: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay, bonus, k and v from the output's gradient `g`; contiguous float32 throughout."""
    batch, tokens, channels = v.shape
    chunks = -(-tokens // CHUNK)
    gk, gv = torch.empty_like(v), torch.empty_like(v)
    states = np.empty((2, batch * chunks, 5, channels), np.float32)
    partials = torch.empty(batch * chunks, 2, channels)
    lam, own = decay.detach().numpy(), bonus.detach().numpy()
    outputs, logs, grads = _rows(y), _rows(logsum), _rows(g)
    parallel_for(_backward_summaries, batch * chunks, grads, outputs, logs, lam, tokens, chunks, states)
    parallel_for(_carry, 2 * batch, lam, tokens, chunks, states)
    parallel_for(
        _backward_tokens,
        batch * chunks,
        _rows(k),
        _rows(v),
        outputs,
        logs,
        grads,
        lam,
        own,
        tokens,
        chunks,
        states,
        _rows(gk),
        _rows(gv),
        partials.numpy(),
    )
    gdecay, gbonus = (part.sum(0, dtype=torch.float64).float() for part in partials.unbind(1))
    return gdecay, gbonus, gk, gv
