"""The selective scan on the CPU for any number of states: vectorised over channels, numba, float32.

A tile is 32 channels. A block of tiles is brought in a span of tokens at a time, as `[tiles, T, 32]` whatever the
memory layout: long in the direction in which memory runs, so that it is read in stretches. States `[N, 32]` stay in
the first-level cache. Blocks run in parallel, each through all of its tokens.

Arrays are laid out as in `cpu_call`; a span is a whole number of chunks.
"""

from __future__ import annotations

import numpy as np

from ..compiled import kernel
from ..cpu_math import LOG2_E, power, sigmoid, softplus
from .cpu_call import Array, Call

WIDTH = 32

_LANES = np.uintp(WIDTH)
_ZERO = np.float32(0.0)


@kernel
def load_block(
    source: Array, time_major: bool, channel: int, width: int, start: int, length: int, block: Array
) -> None:
    """Brings in `width` channels and `length` tokens of `[D, L]`, or `[L, D]`, as `[tiles, T, 32]`."""
    if time_major:
        by_token = source[start : start + length, channel : channel + width]
        for t in range(np.uintp(length)):
            for tile in range(np.uintp((width + WIDTH - 1) // WIDTH)):
                for d in range(min(_LANES, np.uintp(width) - tile * _LANES)):
                    block[tile, t, d] = by_token[t, tile * _LANES + d]
    else:
        # Along the memory, so that rows a power of two apart do not evict one another.
        by_channel = source[channel : channel + width, start : start + length]
        for c in range(np.uintp(width)):
            for t in range(np.uintp(length)):
                block[c // _LANES, t, c % _LANES] = by_channel[c, t]


@kernel
def store_block(
    block: Array, time_major: bool, channel: int, width: int, start: int, length: int, target: Array
) -> None:
    """The inverse of `load_block`."""
    if time_major:
        by_token = target[start : start + length, channel : channel + width]
        for t in range(np.uintp(length)):
            for tile in range(np.uintp((width + WIDTH - 1) // WIDTH)):
                for d in range(min(_LANES, np.uintp(width) - tile * _LANES)):
                    by_token[t, tile * _LANES + d] = block[tile, t, d]
    else:
        by_channel = target[channel : channel + width, start : start + length]
        for c in range(np.uintp(width)):
            for t in range(np.uintp(length)):
                by_channel[c, t] = block[c // _LANES, t, c % _LANES]


@kernel
def load_rows(skip: Array, bias: Array, channel: int, width: int, rows: Array) -> None:
    """D and the bias of a tile, zero where there is none."""
    for d in range(width):
        rows[0, d] = skip[channel + d] if skip.size else _ZERO
        rows[1, d] = bias[channel + d] if bias.size else _ZERO


@kernel
def _prepare(delta: Array, u: Array, y: Array, skip: Array, bias: Array, use_softplus: bool, length: int) -> None:
    """Activates delta, starts the outputs with `D * u`, and replaces u by what enters the states, `delta * u`."""
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            raw = delta[t, d] + bias[d]
            step = softplus(raw) if use_softplus else raw
            y[t, d] = skip[d] * u[t, d]
            delta[t, d] = step
            u[t, d] *= step


@kernel
def multiply_row(row: Array, x: Array, product: Array, length: int) -> None:
    """Writes `row * x`, channel by channel."""
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            product[t, d] = row[d] * x[t, d]


@kernel
def _gate(z: Array, y: Array, length: int) -> None:
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            y[t, d] *= z[t, d] * sigmoid(z[t, d])


@kernel
def _advance(
    delta: Array, du: Array, b: Array, c: Array, rate: Array, state: Array, y: Array, length: int, reverse: bool
) -> None:
    last = np.uintp(length - 1)
    for step in range(np.uintp(length)):
        t = last - step if reverse else step
        for n in range(np.uintp(state.shape[0])):
            bt, ct = b[t, n], c[t, n]
            for d in range(_LANES):
                h = power(delta[t, d] * rate[n, d]) * state[n, d] + bt * du[t, d]
                state[n, d] = h
                y[t, d] += ct * h


@kernel
def copy_states(source: Array, channel: int, width: int, target: Array, offset: int) -> None:
    """Copies `width` channels of `[N, D]`, from `channel` to `offset`."""
    for n in range(source.shape[0]):
        for d in range(width):
            target[n, offset + d] = source[n, channel + d]


@kernel
def forward(
    first: int,
    last: int,
    call: Call,
    time_major: bool,
    span: int,
    out: Array,
    last_state: Array,
    saved: Array,
) -> None:
    """Output, last state `[B, N, D]` and, where `saved` has elements, the state before each chunk."""
    rates, blocks, tokens, chunk = call.rates, call.blocks, call.tokens, call.chunk
    tiles = (blocks[:, 1].max() + WIDTH - 1) // WIDTH
    work = np.zeros((4, tiles, span, WIDTH), np.float32)
    steps, inputs, outputs, gates = work[0], work[1], work[2], work[3]
    rows = np.zeros((2, tiles, WIDTH), np.float32)
    small = np.zeros((2, tiles, rates.shape[0], WIDTH), np.float32)
    for item in range(first, last):
        batch, block = item // blocks.shape[0], item % blocks.shape[0]
        begin, channels, group, reverse = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3] != 0
        work[:] = _ZERO
        small[:] = _ZERO
        for tile in range((channels + WIDTH - 1) // WIDTH):
            channel, width = begin + tile * WIDTH, min(WIDTH, channels - tile * WIDTH)
            copy_states(rates, channel, width, small[0, tile], 0)
            small[0, tile] *= LOG2_E
            load_rows(call.skip, call.bias, channel, width, rows[:, tile])
        for turn in range((tokens + span - 1) // span):
            start = ((tokens - 1) // span - turn if reverse else turn) * span
            length = min(span, tokens - start)
            load_block(call.delta[batch], time_major, begin, channels, start, length, steps)
            load_block(call.u[batch], time_major, begin, channels, start, length, inputs)
            if call.z.size:
                load_block(call.z[batch], time_major, begin, channels, start, length, gates)
            for tile in range((channels + WIDTH - 1) // WIDTH):
                channel, width = begin + tile * WIDTH, min(WIDTH, channels - tile * WIDTH)
                dl, du, y, state = steps[tile], inputs[tile], outputs[tile], small[1, tile]
                _prepare(dl, du, y, rows[0, tile], rows[1, tile], call.softplus, length)
                for part in range((length + chunk - 1) // chunk):
                    at = ((length - 1) // chunk - part if reverse else part) * chunk
                    size = min(chunk, length - at)
                    if saved.size:
                        copy_states(state, 0, width, saved[batch, (start + at) // chunk], channel)
                    bs, cs = call.b[batch, group, start + at :], call.c[batch, group, start + at :]
                    _advance(dl[at:], du[at:], bs, cs, small[0, tile], state, y[at:], size, reverse)
                if call.z.size:
                    _gate(gates[tile], y, length)
            store_block(outputs, time_major, begin, channels, start, length, out[batch])
        for tile in range((channels + WIDTH - 1) // WIDTH):
            channel, width = begin + tile * WIDTH, min(WIDTH, channels - tile * WIDTH)
            copy_states(small[1, tile], 0, width, last_state[batch], channel)
