"""Backward kernels of the two-dimensional selective scan on the CPU; memory is described in `cpu_lines.py`.

A direction is run once to keep the state before each line. Then, from the last line to the first, the states within the
line are remade and the gradients walk back through them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..compiled import kernel
from ..cpu_math import decay, sigmoid, softplus
from .cpu_lines import copy_parameters, line_shape, place

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

Array = NDArray[Any]


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def _total(lanes: Array, width: int) -> Any:
    """Their sum in any order, which lets it be vectorised."""
    total = _ZERO
    for i in range(np.uintp(width)):
        total += lanes[i]
    return total


@kernel
def _remake(
    x: Array,
    delta: Array,
    B: Array,
    at: Array,
    by: Array,
    b_stride: int,
    steps: int,
    width: int,
    rate: Array,
    rows: Array,
    use_softplus: bool,
    state: Array,
    before: Array,
    sizes: Array,
    slopes: Array,
) -> None:
    """States before each step of a line, step sizes and their derivatives; `state` moves on to the next line."""
    xo, do, bo = at[0], at[1], at[2]
    for t in range(np.uintp(steps)):
        for i in range(np.uintp(width)):
            raw = delta[np.uintp(do) + i] + rows[1, i]
            sizes[t, i] = softplus(raw) if use_softplus else raw
            slopes[t, i] = sigmoid(raw) if use_softplus else _ONE
        for n in range(state.shape[0]):
            b = B[np.uintp(bo + n * b_stride)]
            for i in range(np.uintp(width)):
                h = state[np.uintp(n), i]
                before[t, np.uintp(n), i] = h
                term = sizes[t, i] * x[np.uintp(xo) + i] * b
                state[np.uintp(n), i] = decay(sizes[t, i] * rate[np.uintp(n), i]) * h + term
        xo, do, bo = xo + by[0], do + by[1], bo + by[2]


@kernel
def _retreat(
    x: Array,
    B: Array,
    C: Array,
    g: Array,
    gx: Array,
    gdelta: Array,
    gB: Array,
    gC: Array,
    at: Array,
    by: Array,
    strides: Array,
    steps: int,
    width: int,
    rate: Array,
    rows: Array,
    add: bool,
    before: Array,
    sizes: Array,
    slopes: Array,
    carry: Array,
    from_input: Array,
    from_decay: Array,
    b_terms: Array,
    c_terms: Array,
    g_rate: Array,
    g_skip: Array,
    g_bias: Array,
) -> None:
    """Gradients of a line from its last step to its first. Rows of one array would not be known to be distinct."""
    last = steps - 1
    xo, bo, co = at[0] + last * by[0], at[2] + last * by[2], at[3] + last * by[3]
    go, gxo, gdo = at[4] + last * by[4], at[5] + last * by[5], at[6] + last * by[6]
    gbo, gco = at[7] + last * by[7], at[8] + last * by[8]
    states = carry.shape[0]
    for back in range(steps):
        t = np.uintp(last - back)
        for i in range(np.uintp(width)):
            from_input[i] = _ZERO
            from_decay[i] = _ZERO
        for state in range(states):
            n = np.uintp(state)
            b, c = B[np.uintp(bo + state * strides[2, 2])], C[np.uintp(co + state * strides[3, 2])]
            for i in range(np.uintp(width)):
                outer = g[np.uintp(go) + i]
                size = sizes[t, i]
                taken = size * x[np.uintp(xo) + i]
                gh = carry[n, i] + c * outer
                a = decay(size * rate[n, i])
                kept = a * before[t, n, i]
                through = gh * kept
                carry[n, i] = a * gh
                from_input[i] += gh * b
                from_decay[i] += through * rate[n, i]
                b_terms[i] = gh * taken
                c_terms[i] = outer * (kept + taken * b)
                g_rate[n, i] += through * size
            gB[np.uintp(gbo + state * strides[7, 2])] = _total(b_terms, width)
            gC[np.uintp(gco + state * strides[8, 2])] = _total(c_terms, width)
        for i in range(np.uintp(width)):
            own, outer = x[np.uintp(xo) + i], g[np.uintp(go) + i]
            raw = (from_input[i] * own + from_decay[i]) * slopes[t, i]
            gdelta[np.uintp(gdo) + i] = raw
            others = gx[np.uintp(gxo) + i] if add else _ZERO
            gx[np.uintp(gxo) + i] = others + (from_input[i] * sizes[t, i] + rows[0, i] * outer)
            g_skip[i] += outer * own
            g_bias[i] += raw
        xo, bo, co = xo - by[0], bo - by[2], co - by[3]
        go, gxo, gdo = go - by[4], gxo - by[5], gdo - by[6]
        gbo, gco = gbo - by[7], gco - by[8]


@kernel
def _flush(source: Array, width: int, target: Array) -> None:
    for row in range(source.shape[0]):
        for i in range(width):
            target[row, i] += source[row, i]
            source[row, i] = _ZERO


@kernel
def backward(
    first: int,
    last: int,
    x: Array,
    delta: Array,
    B: Array,
    C: Array,
    g: Array,
    gx: Array,
    gdelta: Array,
    gB: Array,
    gC: Array,
    strides: Array,
    grid: tuple[int, int],
    blocks: Array,
    rates: Array,
    skip: Array,
    bias: Array,
    use_softplus: bool,
    totals: Array,
) -> None:
    """Gradients of blocks of channels; `totals` `[B, 4, N + 2, D]`, float64, gets those of A, D and the bias.

    `gB` and `gC` have a row for each block.
    """
    states, widest, longest = rates.shape[1], blocks[:, 1].max(), max(grid)
    starts = np.empty((longest, states, widest), np.float32)
    before = np.empty((longest, states, widest), np.float32)
    sizes, slopes = np.empty((longest, widest), np.float32), np.empty((longest, widest), np.float32)
    state, carry = np.empty((states, widest), np.float32), np.empty((states, widest), np.float32)
    rate, rows = np.empty((states, widest), np.float32), np.empty((2, widest), np.float32)
    from_input, from_decay = np.empty(widest, np.float32), np.empty(widest, np.float32)
    b_terms, c_terms = np.empty(widest, np.float32), np.empty(widest, np.float32)
    sums = np.zeros((states + 2, widest), np.float32)
    at, by = np.empty(9, np.int64), np.empty(9, np.int64)
    for item in range(first, last):
        batch, block = item // len(blocks), item % len(blocks)
        channel, width = blocks[block, 0], blocks[block, 1]
        for k in range(4):
            copy_parameters(rates, skip, bias, k, channel, width, rate, rows)
            lines, steps = line_shape(grid, k)
            state[:] = _ZERO
            carry[:] = _ZERO
            for line in range(lines):
                starts[line] = state
                place(strides, grid, batch, k, channel, line, at, by)
                _remake(
                    x,
                    delta,
                    B,
                    at,
                    by,
                    strides[2, 2],
                    steps,
                    width,
                    rate,
                    rows,
                    use_softplus,
                    state,
                    before,
                    sizes,
                    slopes,
                )
            for line in range(lines - 1, -1, -1):
                state[:] = starts[line]
                place(strides, grid, batch, k, channel, line, at, by)
                _remake(
                    x,
                    delta,
                    B,
                    at,
                    by,
                    strides[2, 2],
                    steps,
                    width,
                    rate,
                    rows,
                    use_softplus,
                    state,
                    before,
                    sizes,
                    slopes,
                )
                _retreat(
                    x,
                    B,
                    C,
                    g,
                    gx,
                    gdelta,
                    gB[block],
                    gC[block],
                    at,
                    by,
                    strides,
                    steps,
                    width,
                    rate,
                    rows,
                    k > 0,
                    before,
                    sizes,
                    slopes,
                    carry,
                    from_input,
                    from_decay,
                    b_terms,
                    c_terms,
                    sums[:states],
                    sums[states],
                    sums[states + 1],
                )
                _flush(sums, width, totals[batch, k, :, channel:])
