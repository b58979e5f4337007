"""The backward pass of `cpu_tiles`: every chunk from the state that the forward pass kept.

The states in a chunk are made again, then it is walked through from its end. Gradients of B and C add up over the tiles
of a block lane by lane, and over the blocks at the end.
"""

from __future__ import annotations

import numpy as np

from ..compiled import kernel
from ..cpu_math import decay, sigmoid, softplus
from .cpu_call import Array, Call, Targets
from .cpu_tiles import WIDTH, copy_states, load_block, load_rows, multiply_row, store_block

_LANES = np.uintp(WIDTH)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def _multiply(x: Array, y: Array, product: Array, length: int) -> None:
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            product[t, d] = x[t, d] * y[t, d]


@kernel
def _remake(
    delta: Array,
    du: Array,
    b: Array,
    c: Array,
    rate: Array,
    before: Array,
    decays: Array,
    y: Array,
    length: int,
    reverse: bool,
) -> None:
    """States before each step, in the order of the scan; `before[0]` is given."""
    last = np.uintp(length - 1)
    one = np.uintp(1)
    for step in range(np.uintp(length)):
        t = last - step if reverse else step
        for n in range(np.uintp(rate.shape[0])):
            bt, ct = b[t, n], c[t, n]
            for d in range(_LANES):
                a = decay(delta[t, d] * rate[n, d])
                h = a * before[step, n, d] + bt * du[t, d]
                decays[step, n, d] = a
                before[step + one, n, d] = h
                y[t, d] += ct * h


@kernel
def _retreat(
    delta: Array,
    du: Array,
    dy: Array,
    b: Array,
    c: Array,
    rate: Array,
    before: Array,
    decays: Array,
    carry: Array,
    from_input: Array,
    from_decay: Array,
    g_rate: Array,
    gb: Array,
    gc: Array,
    length: int,
    reverse: bool,
) -> None:
    last = np.uintp(length - 1)
    for back in range(np.uintp(length)):
        step = last - back
        t = back if reverse else step
        for n in range(np.uintp(rate.shape[0])):
            bt, ct = b[t, n], c[t, n]
            for d in range(_LANES):
                g = carry[n, d] + ct * dy[t, d]
                a = decays[step, n, d]
                kept = a * before[step, n, d]
                through = g * kept
                carry[n, d] = a * g
                from_input[t, d] += g * bt
                from_decay[t, d] += through * rate[n, d]
                g_rate[n, d] += through * delta[t, d]
                gb[t, n, d] += g * du[t, d]
                gc[t, n, d] += dy[t, d] * (kept + bt * du[t, d])


@kernel
def _gate_gradients(z: Array, y: Array, g: Array, length: int) -> None:
    """Replaces the gradient `g` of the gated output by that of the output before the gate, and `z` by its gradient."""
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            open_ = sigmoid(z[t, d])
            outer = g[t, d]
            g[t, d] = outer * z[t, d] * open_
            z[t, d] = outer * y[t, d] * open_ * (_ONE + z[t, d] * (_ONE - open_))


@kernel
def _input_gradients(
    raw: Array,
    u: Array,
    delta: Array,
    dy: Array,
    skip: Array,
    use_softplus: bool,
    from_input: Array,
    from_decay: Array,
    sums: Array,
    length: int,
) -> None:
    """Replaces delta (before its softplus) and u by their gradients, and adds to those of D and the bias."""
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            slope = from_decay[t, d] + u[t, d] * from_input[t, d]
            slope = slope * sigmoid(raw[t, d]) if use_softplus else slope
            sums[0, d] += dy[t, d] * u[t, d]
            sums[1, d] += slope
            raw[t, d] = slope
            u[t, d] = skip[d] * dy[t, d] + delta[t, d] * from_input[t, d]


@kernel
def _add_bias(raw: Array, bias: Array, length: int) -> None:
    for t in range(np.uintp(length)):
        for d in range(_LANES):
            raw[t, d] += bias[d]


@kernel
def _activated(raw: Array, use_softplus: bool, length: int, width: int, delta: Array) -> None:
    for t in range(np.uintp(length)):
        for d in range(np.uintp(width)):
            delta[t, d] = softplus(raw[t, d]) if use_softplus else raw[t, d]


@kernel
def _add_to(source: Array, channel: int, width: int, target: Array) -> None:
    """Adds to float64 sums and clears the source."""
    for row in range(source.shape[0]):
        for d in range(width):
            target[row, channel + d] += source[row, d]
            source[row, d] = _ZERO


@kernel
def _fold(lanes: Array, length: int, start: int, target: Array) -> None:
    """Sums over the lanes, written to `target[start:, n]`."""
    for t in range(np.uintp(length)):
        for n in range(np.uintp(lanes.shape[1])):
            for d in range(np.uintp(16)):
                lanes[t, n, d] += lanes[t, n, d + np.uintp(16)]
            for d in range(np.uintp(8)):
                lanes[t, n, d] += lanes[t, n, d + np.uintp(8)]
            for d in range(np.uintp(4)):
                lanes[t, n, d] += lanes[t, n, d + np.uintp(4)]
            target[start + t, n] = (lanes[t, n, 0] + lanes[t, n, 1]) + (lanes[t, n, 2] + lanes[t, n, 3])


@kernel
def backward(  # noqa: PLR0915
    first: int,
    last: int,
    call: Call,
    time_major: bool,
    span: int,
    saved: Array,
    g: Array,
    g_last: Array,
    targets: Targets,
) -> None:
    """Writes all gradients from those of the output, `g`, and of the last state, `g_last` `[B, N, D]`."""
    rates, blocks, tokens, chunk = call.rates, call.blocks, call.tokens, call.chunk
    states = rates.shape[0]
    tiles = (blocks[:, 1].max() + WIDTH - 1) // WIDTH
    work = np.zeros((4, tiles, span, WIDTH), np.float32)
    raws, inputs, outers, gates = work[0], work[1], work[2], work[3]
    scratch = np.zeros((5, chunk, WIDTH), np.float32)
    dl, du, y, from_input, from_decay = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    before = np.zeros((chunk + 1, states, WIDTH), np.float32)
    decays = np.zeros((chunk, states, WIDTH), np.float32)
    lanes = np.zeros((2, chunk, states, WIDTH), np.float32)
    rows = np.zeros((2, tiles, WIDTH), np.float32)
    sums = np.zeros((2, WIDTH), np.float32)
    small = np.zeros((2, tiles, states, WIDTH), np.float32)
    g_rate = np.zeros((states, WIDTH), np.float32)
    for item in range(first, last):
        batch, block = item // blocks.shape[0], item % blocks.shape[0]
        begin, channels, group, reverse = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3] != 0
        work[:] = _ZERO
        scratch[:] = _ZERO
        before[:] = _ZERO
        small[:] = _ZERO
        for tile in range((channels + WIDTH - 1) // WIDTH):
            channel, width = begin + tile * WIDTH, min(WIDTH, channels - tile * WIDTH)
            copy_states(rates, channel, width, small[0, tile], 0)
            load_rows(call.skip, call.bias, channel, width, rows[:, tile])
            if g_last.size:
                copy_states(g_last[batch], channel, width, small[1, tile], 0)
        for turn in range((tokens + span - 1) // span):
            start = (turn if reverse else (tokens - 1) // span - turn) * span
            length = min(span, tokens - start)
            load_block(call.delta[batch], time_major, begin, channels, start, length, raws)
            load_block(call.u[batch], time_major, begin, channels, start, length, inputs)
            load_block(g[batch], time_major, begin, channels, start, length, outers)
            if call.z.size:
                load_block(call.z[batch], time_major, begin, channels, start, length, gates)
            for part in range((length + chunk - 1) // chunk):
                at = (part if reverse else (length - 1) // chunk - part) * chunk
                size = min(chunk, length - at)
                bs, cs = call.b[batch, group, start + at :], call.c[batch, group, start + at :]
                lanes[:] = _ZERO
                for tile in range((channels + WIDTH - 1) // WIDTH):
                    channel, width = begin + tile * WIDTH, min(WIDTH, channels - tile * WIDTH)
                    raw, us, dy = raws[tile, at:], inputs[tile, at:], outers[tile, at:]
                    if width < WIDTH:
                        dl[:] = _ZERO
                        before[0] = _ZERO
                    copy_states(saved[batch, (start + at) // chunk], channel, width, before[0], 0)
                    _add_bias(raw, rows[1, tile], size)
                    _activated(raw, call.softplus, size, width, dl)
                    _multiply(dl, us, du, size)
                    multiply_row(rows[0, tile], us, y, size)
                    _remake(dl, du, bs, cs, small[0, tile], before, decays, y, size, reverse)
                    if call.z.size:
                        _gate_gradients(gates[tile, at:], y, dy, size)
                    from_input[:] = _ZERO
                    from_decay[:] = _ZERO
                    _retreat(
                        dl,
                        du,
                        dy,
                        bs,
                        cs,
                        small[0, tile],
                        before,
                        decays,
                        small[1, tile],
                        from_input,
                        from_decay,
                        g_rate,
                        lanes[0],
                        lanes[1],
                        size,
                        reverse,
                    )
                    _input_gradients(raw, us, dl, dy, rows[0, tile], call.softplus, from_input, from_decay, sums, size)
                    _add_to(g_rate, channel, width, targets.rates[batch])
                    _add_to(sums, channel, width, targets.rows[batch])
                _fold(lanes[0], size, start + at, targets.b[batch, block])
                _fold(lanes[1], size, start + at, targets.c[batch, block])
            store_block(inputs, time_major, begin, channels, start, length, targets.u[batch])
            store_block(raws, time_major, begin, channels, start, length, targets.delta[batch])
            if call.z.size:
                store_block(gates, time_major, begin, channels, start, length, targets.z[batch])
