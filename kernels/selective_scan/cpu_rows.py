"""The selective scan on the CPU for one state (VMamba's N = 1): vectorised over tokens, numba, float32.

With one state the exponentials are no longer the bulk, and turning `[B, D, L]` to make channels neighbours would cost
more than the scan. So everything but the recurrence runs along the tokens of a row, and the recurrence itself runs
over eight rows at once, which hides its latency. Arguments are those of `cpu_tiles`, without a memory layout.
"""

from __future__ import annotations

import numpy as np

from ..compiled import kernel
from ..cpu_math import decay, sigmoid, softplus
from .cpu_call import Array, Call, Targets

ROWS = 8

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@kernel
def _terms(
    u: Array, delta: Array, b: Array, bias: float, rate: float, use_softplus: bool, decays: Array, terms: Array
) -> None:
    if use_softplus:
        for t in range(np.uintp(delta.size)):
            step = softplus(delta[t] + bias)
            decays[t] = decay(step * rate)
            terms[t] = step * u[t] * b[t]
    else:
        for t in range(np.uintp(delta.size)):
            step = delta[t] + bias
            decays[t] = decay(step * rate)
            terms[t] = step * u[t] * b[t]


@kernel
def _recur(decays: Array, terms: Array, state: Array, reverse: bool) -> None:
    """Replaces terms by states, `h = decay * h + term`, over eight rows."""
    length = np.uintp(terms.shape[1])
    h0, h1, h2, h3, h4, h5, h6, h7 = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for step in range(length):
        t = length - np.uintp(1) - step if reverse else step
        h0 = decays[0, t] * h0 + terms[0, t]
        h1 = decays[1, t] * h1 + terms[1, t]
        h2 = decays[2, t] * h2 + terms[2, t]
        h3 = decays[3, t] * h3 + terms[3, t]
        h4 = decays[4, t] * h4 + terms[4, t]
        h5 = decays[5, t] * h5 + terms[5, t]
        h6 = decays[6, t] * h6 + terms[6, t]
        h7 = decays[7, t] * h7 + terms[7, t]
        terms[0, t] = h0
        terms[1, t] = h1
        terms[2, t] = h2
        terms[3, t] = h3
        terms[4, t] = h4
        terms[5, t] = h5
        terms[6, t] = h6
        terms[7, t] = h7
    state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7] = h0, h1, h2, h3, h4, h5, h6, h7


@kernel
def _recur_back(decays: Array, grads: Array, carry: Array, reverse: bool) -> None:
    """Replaces the gradients that states get from outputs by their whole ones, `g += carry; carry = decay * g`."""
    length = np.uintp(grads.shape[1])
    c0, c1, c2, c3, c4, c5, c6, c7 = carry[0], carry[1], carry[2], carry[3], carry[4], carry[5], carry[6], carry[7]
    for step in range(length):
        t = step if reverse else length - np.uintp(1) - step
        g0 = grads[0, t] + c0
        g1 = grads[1, t] + c1
        g2 = grads[2, t] + c2
        g3 = grads[3, t] + c3
        g4 = grads[4, t] + c4
        g5 = grads[5, t] + c5
        g6 = grads[6, t] + c6
        g7 = grads[7, t] + c7
        c0 = decays[0, t] * g0
        c1 = decays[1, t] * g1
        c2 = decays[2, t] * g2
        c3 = decays[3, t] * g3
        c4 = decays[4, t] * g4
        c5 = decays[5, t] * g5
        c6 = decays[6, t] * g6
        c7 = decays[7, t] * g7
        grads[0, t] = g0
        grads[1, t] = g1
        grads[2, t] = g2
        grads[3, t] = g3
        grads[4, t] = g4
        grads[5, t] = g5
        grads[6, t] = g6
        grads[7, t] = g7
    carry[0], carry[1], carry[2], carry[3], carry[4], carry[5], carry[6], carry[7] = c0, c1, c2, c3, c4, c5, c6, c7


@kernel
def _emit(states: Array, c: Array, u: Array, skip: float, out: Array) -> None:
    for t in range(np.uintp(out.size)):
        out[t] = c[t] * states[t] + skip * u[t]


@kernel
def _emit_gated(states: Array, c: Array, u: Array, skip: float, z: Array, out: Array) -> None:
    for t in range(np.uintp(out.size)):
        out[t] = (c[t] * states[t] + skip * u[t]) * (z[t] * sigmoid(z[t]))


@kernel
def forward(first: int, last: int, call: Call, out: Array, last_state: Array, saved: Array) -> None:
    """As `cpu_tiles.forward`; a block is at most eight channels."""
    u, delta, b, c, z, bias = call.u, call.delta, call.b, call.c, call.z, call.bias
    skip, rates, blocks, tokens, chunk = call.skip, call.rates, call.blocks, call.tokens, call.chunk
    work = np.empty((2, ROWS, chunk), np.float32)
    decays, terms = work[0], work[1]
    state = np.empty(ROWS, np.float32)
    chunks = (tokens + chunk - 1) // chunk
    for item in range(first, last):
        batch, block = item // blocks.shape[0], item % blocks.shape[0]
        channel, rows, group, reverse = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3] != 0
        work[:] = _ZERO
        state[:] = _ZERO
        for step in range(chunks):
            index = chunks - 1 - step if reverse else step
            start, stop = index * chunk, min(index * chunk + chunk, tokens)
            length = stop - start
            for row in range(rows):
                d = channel + row
                if saved.size:
                    saved[batch, index, 0, d] = state[row]
                shift = bias[d] if bias.size else _ZERO
                _terms(
                    u[batch, d, start:stop],
                    delta[batch, d, start:stop],
                    b[batch, group, start:stop],
                    shift,
                    rates[0, d],
                    call.softplus,
                    decays[row],
                    terms[row],
                )
            _recur(decays[:, :length], terms[:, :length], state, reverse)
            for row in range(rows):
                d = channel + row
                through = skip[d] if skip.size else _ZERO
                us, cs, target = u[batch, d, start:stop], c[batch, group, start:stop], out[batch, d, start:stop]
                if z.size:
                    _emit_gated(terms[row], cs, us, through, z[batch, d, start:stop], target)
                else:
                    _emit(terms[row], cs, us, through, target)
        for row in range(rows):
            last_state[batch, 0, channel + row] = state[row]


@kernel
def _gate_gradients(states: Array, c: Array, u: Array, skip: float, z: Array, g: Array, gz: Array, dy: Array) -> None:
    for t in range(np.uintp(g.size)):
        open_ = sigmoid(z[t])
        y = c[t] * states[t] + skip * u[t]
        gz[t] = g[t] * y * open_ * (_ONE + z[t] * (_ONE - open_))
        dy[t] = g[t] * z[t] * open_


@kernel
def _from_outputs(dy: Array, c: Array, grads: Array) -> None:
    for t in range(np.uintp(dy.size)):
        grads[t] = dy[t] * c[t]


@kernel
def _input_gradients(
    u: Array,
    delta: Array,
    b: Array,
    dy: Array,
    bias: float,
    rate: float,
    skip: float,
    use_softplus: bool,
    states: Array,
    grads: Array,
    gu: Array,
    g_delta: Array,
    g_rate: Array,
    gb: Array,
    gc: Array,
) -> None:
    for t in range(np.uintp(dy.size)):
        raw = delta[t] + bias
        step = softplus(raw) if use_softplus else raw
        through = grads[t] * (states[t] - step * u[t] * b[t])
        from_input = grads[t] * b[t]
        slope = through * rate + u[t] * from_input
        g_delta[t] = slope * sigmoid(raw) if use_softplus else slope
        gu[t] = skip * dy[t] + step * from_input
        g_rate[t] = through * step
        gb[t] += grads[t] * step * u[t]
        gc[t] += dy[t] * states[t]


@kernel
def _total(x: Array) -> float:
    """Sum of a chunk over lanes, so that the additions run side by side."""
    lanes = np.zeros(16, np.float32)
    whole = x.size // 16
    for block in range(np.uintp(whole)):
        for lane in range(np.uintp(16)):
            lanes[lane] += x[block * np.uintp(16) + lane]
    total = 0.0
    for lane in range(16):
        total += lanes[lane]
    for t in range(whole * 16, x.size):
        total += x[t]
    return total


@kernel
def backward(first: int, last: int, call: Call, saved: Array, g: Array, g_last: Array, targets: Targets) -> None:
    """As `cpu_tiles_backward.backward`."""
    u, delta, b, c, z, bias = call.u, call.delta, call.b, call.c, call.z, call.bias
    skip, rates, blocks, tokens, chunk = call.skip, call.rates, call.blocks, call.tokens, call.chunk
    work = np.empty((4, ROWS, chunk), np.float32)
    decays, terms, grads, outer = work[0], work[1], work[2], work[3]
    products = np.empty((2, chunk), np.float32)
    state, carry = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    chunks = (tokens + chunk - 1) // chunk
    for item in range(first, last):
        batch, block = item // blocks.shape[0], item % blocks.shape[0]
        channel, rows, group, reverse = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3] != 0
        work[:] = _ZERO
        state[:] = _ZERO
        carry[:] = _ZERO
        for row in range(rows):
            if g_last.size:
                carry[row] = g_last[batch, 0, channel + row]
        for step in range(chunks):
            index = step if reverse else chunks - 1 - step
            start, stop = index * chunk, min(index * chunk + chunk, tokens)
            length = stop - start
            bs, cs = b[batch, group, start:stop], c[batch, group, start:stop]
            for row in range(rows):
                d = channel + row
                state[row] = saved[batch, index, 0, d]
                shift = bias[d] if bias.size else _ZERO
                us, ds = u[batch, d, start:stop], delta[batch, d, start:stop]
                _terms(us, ds, bs, shift, rates[0, d], call.softplus, decays[row], terms[row])
            _recur(decays[:, :length], terms[:, :length], state, reverse)
            for row in range(rows):
                d = channel + row
                us, gs, dy = u[batch, d, start:stop], g[batch, d, start:stop], outer[row, :length]
                if z.size:
                    through = skip[d] if skip.size else _ZERO
                    zs, target = z[batch, d, start:stop], targets.z[batch, d, start:stop]
                    _gate_gradients(terms[row], cs, us, through, zs, gs, target, dy)
                else:
                    dy[:] = gs
                _from_outputs(dy, cs, grads[row])
            _recur_back(decays[:, :length], grads[:, :length], carry, reverse)
            gbs, gcs = targets.b[batch, block, start:stop], targets.c[batch, block, start:stop]
            gbs[:] = _ZERO
            gcs[:] = _ZERO
            for row in range(rows):
                d = channel + row
                us, ds, dy = u[batch, d, start:stop], delta[batch, d, start:stop], outer[row, :length]
                shift = bias[d] if bias.size else _ZERO
                through = skip[d] if skip.size else _ZERO
                slopes = targets.delta[batch, d, start:stop]
                product = products[0, :length]
                _input_gradients(
                    us,
                    ds,
                    bs,
                    dy,
                    shift,
                    rates[0, d],
                    through,
                    call.softplus,
                    terms[row],
                    grads[row],
                    targets.u[batch, d, start:stop],
                    slopes,
                    product,
                    gbs,
                    gcs,
                )
                targets.rates[batch, 0, d] += _total(product)
                targets.rows[batch, 1, d] += _total(slopes)
                _multiply(dy, us, product)
                targets.rows[batch, 0, d] += _total(product)


@kernel
def _multiply(x: Array, y: Array, product: Array) -> None:
    for t in range(np.uintp(product.size)):
        product[t] = x[t] * y[t]
