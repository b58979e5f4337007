"""Forward kernels of the two-dimensional selective scan on the CPU, and where a line of a map lies in memory.

Maps are flat memory; a row of `strides` tells of one map how far apart in it images, directions, channels (of B, C and
their gradients: states), rows and columns are. A line is a row or a column, taken from either end; `at` is where it
begins in each map, `by` how far apart its steps are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiled import kernel
from ..cpu_math import decay, softplus

_ZERO = np.float32(0.0)

# B, C and, in the backward pass, their gradients, in the order of the maps.
OF_STATES = (2, 3, 7, 8)

Array = NDArray[Any]


@kernel
def line_shape(grid: tuple[int, int], direction: int) -> tuple[int, int]:
    """Lines of a direction, and steps in each."""
    return (grid[1], grid[0]) if direction % 2 == 1 else (grid[0], grid[1])


@kernel
def place(
    strides: Array, grid: tuple[int, int], batch: int, direction: int, channel: int, line: int, at: Array, by: Array
) -> None:
    """Finds the line-th line that a direction takes."""
    lines, steps = line_shape(grid, direction)
    backwards = direction >= 2
    taken = lines - 1 - line if backwards else line
    for m in range(strides.shape[0]):
        row, column = strides[m, 3], strides[m, 4]
        across, along = (column, row) if direction % 2 == 1 else (row, column)
        begin = batch * strides[m, 0] + direction * strides[m, 1] + taken * across
        begin += 0 if m in OF_STATES else channel
        at[m] = begin + (steps - 1) * along if backwards else begin
        by[m] = -along if backwards else along


@kernel
def copy_parameters(
    rates: Array, skip: Array, bias: Array, direction: int, channel: int, width: int, rate: Array, rows: Array
) -> None:
    """Brings those of a block together: a slice of a matrix would not be known to be contiguous."""
    for n in range(rate.shape[0]):
        for i in range(width):
            rate[n, i] = rates[direction, n, channel + i]
    for i in range(width):
        rows[0, i] = skip[direction, channel + i]
        rows[1, i] = bias[direction, channel + i]


@kernel
def _line_of_one(
    x: Array,
    delta: Array,
    B: Array,
    C: Array,
    y: Array,
    at: Array,
    by: Array,
    steps: int,
    width: int,
    rate: Array,
    rows: Array,
    use_softplus: bool,
    add: bool,
    state: Array,
) -> None:
    """One line where a channel has a single state: everything in one loop."""
    xo, do, bo, co, yo = at[0], at[1], at[2], at[3], at[4]
    for _ in range(steps):
        b, c = B[np.uintp(bo)], C[np.uintp(co)]
        for i in range(np.uintp(width)):
            own = x[np.uintp(xo) + i]
            raw = delta[np.uintp(do) + i] + rows[1, i]
            step = softplus(raw) if use_softplus else raw
            h = decay(step * rate[0, i]) * state[0, i] + step * own * b
            state[0, i] = h
            before = y[np.uintp(yo) + i] if add else _ZERO
            y[np.uintp(yo) + i] = before + (c * h + rows[0, i] * own)
        xo, do, bo, co, yo = xo + by[0], do + by[1], bo + by[2], co + by[3], yo + by[4]


@kernel
def _line_of_many(
    x: Array,
    delta: Array,
    B: Array,
    C: Array,
    y: Array,
    at: Array,
    by: Array,
    b_stride: int,
    c_stride: int,
    steps: int,
    width: int,
    rate: Array,
    rows: Array,
    use_softplus: bool,
    add: bool,
    state: Array,
    work: Array,
) -> None:
    """One line for any number of states; `work` is `[3, width]`."""
    xo, do, bo, co, yo = at[0], at[1], at[2], at[3], at[4]
    for _ in range(steps):
        for i in range(np.uintp(width)):
            own = x[np.uintp(xo) + i]
            raw = delta[np.uintp(do) + i] + rows[1, i]
            step = softplus(raw) if use_softplus else raw
            work[0, i] = step
            work[1, i] = step * own
            work[2, i] = rows[0, i] * own
        for n in range(state.shape[0]):
            b, c = B[np.uintp(bo + n * b_stride)], C[np.uintp(co + n * c_stride)]
            for i in range(np.uintp(width)):
                h = decay(work[0, i] * rate[np.uintp(n), i]) * state[np.uintp(n), i] + work[1, i] * b
                state[np.uintp(n), i] = h
                work[2, i] += c * h
        for i in range(np.uintp(width)):
            before = y[np.uintp(yo) + i] if add else _ZERO
            y[np.uintp(yo) + i] = before + work[2, i]
        xo, do, bo, co, yo = xo + by[0], do + by[1], bo + by[2], co + by[3], yo + by[4]


@kernel
def forward(
    first: int,
    last: int,
    x: Array,
    delta: Array,
    B: Array,
    C: Array,
    y: Array,
    strides: Array,
    grid: tuple[int, int],
    blocks: Array,
    rates: Array,
    skip: Array,
    bias: Array,
    use_softplus: bool,
) -> None:
    """Blocks of channels, `[first channel, channels]`, of every image."""
    states, widest = rates.shape[1], blocks[:, 1].max()
    state, rate = np.empty((states, widest), np.float32), np.empty((states, widest), np.float32)
    rows = np.empty((2, widest), np.float32)
    work = np.empty((3, widest), np.float32)
    at, by = np.empty(5, np.int64), np.empty(5, np.int64)
    for item in range(first, last):
        batch, channel, width = item // len(blocks), blocks[item % len(blocks), 0], blocks[item % len(blocks), 1]
        for k in range(4):
            copy_parameters(rates, skip, bias, k, channel, width, rate, rows)
            lines, steps = line_shape(grid, k)
            state[:] = _ZERO
            for line in range(lines):
                place(strides, grid, batch, k, channel, line, at, by)
                if states == 1:
                    _line_of_one(x, delta, B, C, y, at, by, steps, width, rate, rows, use_softplus, k > 0, state)
                else:
                    _line_of_many(
                        x,
                        delta,
                        B,
                        C,
                        y,
                        at,
                        by,
                        strides[2, 2],
                        strides[3, 2],
                        steps,
                        width,
                        rate,
                        rows,
                        use_softplus,
                        k > 0,
                        state,
                        work,
                    )
