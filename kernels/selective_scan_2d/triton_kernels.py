"""Triton kernels of the two-dimensional selective scan; `triton.py` tells how they play together.

Maps are contiguous: x `[B, D, H, W]`, delta `[B, 4, D, H, W]`, B and C `[B, 4, N, H, W]`. What belongs to the segments
is `[B, 4, D, N, S]`, float32: a segment has the number `row * column blocks + block`, or
`column * row blocks + block` in the directions along columns.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..series import ATANH

_A0, _A1, _A2, _A3 = (tl.constexpr(coefficient) for coefficient in ATANH)


@triton.jit
def _compose(a1, b1, a2, b2):
    """First `h -> a1 h + b1`, then `h -> a2 h + b2`."""
    return a1 * a2, b1 * a2 + b2


@triton.jit
def _compose_gradients(a1, c1, d1, a2, c2, d2):
    """Gradients `c q + d` of states, of which `a` times as much goes on to the next."""
    passed = c2 * a1
    return a2, passed * c1, passed * d1 + d2


@triton.jit
def _softplus(raw):
    """Its value and its derivative."""
    e = tl.exp(-tl.abs(raw))
    s = e / (2.0 + e)
    q = s * s
    value = tl.maximum(raw, 0.0) + 2.0 * (s + s * (q * (((_A3 * q + _A2) * q + _A1) * q + _A0)))
    return value, tl.where(raw > 0.0, 1.0, e) / (1.0 + e)


@triton.jit
def _step_sizes(delta, bias, inside, SOFTPLUS: tl.constexpr):
    """Step sizes of a tile and their derivatives; outside the map a step changes nothing."""
    raw = delta.to(tl.float32) + bias
    if SOFTPLUS:
        size, slope = _softplus(raw)
    else:
        size, slope = raw, tl.full(raw.shape, 1.0, tl.float32)
    return tl.where(inside, size, 0.0), slope


@triton.jit
def _tile(index, height, width, TILE: tl.constexpr):
    """Offsets of a tile's pixels, which of them exist, and the tile's row and column."""
    across = tl.cdiv(width, TILE)
    row, column = index // across, index % across
    h = row * TILE + tl.arange(0, TILE)
    w = column * TILE + tl.arange(0, TILE)
    inside = (h < height)[:, None] & (w < width)[None, :]
    return h[:, None] * width + w[None, :], inside, row, column


@triton.jit
def _segments(row, column, height, width, K: tl.constexpr, TILE: tl.constexpr):
    """Numbers of the segments of a tile in a direction, and which exist."""
    line = (row if K % 2 == 0 else column) * TILE + tl.arange(0, TILE)
    number = line * tl.cdiv(width if K % 2 == 0 else height, TILE) + (column if K % 2 == 0 else row)
    return number, line < (height if K % 2 == 0 else width)


@triton.jit
def _spread(segment, K: tl.constexpr):
    """A value for each segment of a tile, for each pixel of the tile."""
    return segment[:, None] if K % 2 == 0 else segment[None, :]


@triton.jit
def _at_begin(K: tl.constexpr, BACKWARDS: tl.constexpr, TILE: tl.constexpr):
    """Which pixels of a tile a scan of its segments takes first."""
    begin = tl.arange(0, TILE) == (TILE - 1 if BACKWARDS else 0)
    return begin[None, :] if K % 2 == 0 else begin[:, None]


@triton.jit
def _states(a, term, start, K: tl.constexpr, TILE: tl.constexpr):
    """States of a tile, from those that its segments begin with."""
    term += tl.where(_at_begin(K, K >= 2, TILE), a * _spread(start, K), 0.0)
    _, h = tl.associative_scan((a, term), 1 - K % 2, _compose, reverse=K >= 2)
    return h


@triton.jit
def _gradients(a, seen, coming, K: tl.constexpr, TILE: tl.constexpr):
    """Gradients of the states, from what the output takes of each and what comes from the segments behind."""
    seen += tl.where(_at_begin(K, K < 2, TILE), _spread(coming, K), 0.0)
    one = tl.full((TILE, TILE), 1.0, tl.float32)
    _, _, g = tl.associative_scan((a, one, seen), 1 - K % 2, _compose_gradients, reverse=K < 2)
    return g


@triton.jit
def summary_kernel(
    x,
    delta,
    rates,
    b,
    c,
    bias,
    g,
    passed,
    ends,
    gradient_ends,
    channels,
    height,
    width,
    segments,
    STATES: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    GRADIENTS: tl.constexpr,
    TILE: tl.constexpr,
):
    """What each segment lets through and adds; with `GRADIENTS` also what it adds to gradients, from its end."""
    pixels = height * width
    tiles = tl.cdiv(height, TILE) * tl.cdiv(width, TILE)
    channel = tl.program_id(0) % channels
    batch = (tl.program_id(0) // channels // tiles).to(tl.int64)
    offset, inside, row, column = _tile(tl.program_id(0) // channels % tiles, height, width, TILE)
    own = tl.load(x + (batch * channels + channel) * pixels + offset, inside, other=0.0).to(tl.float32)
    if GRADIENTS:
        outer = tl.load(g + (batch * channels + channel) * pixels + offset, inside, other=0.0).to(tl.float32)
    for K in tl.static_range(4):
        map_ = (batch * 4 + K) * channels + channel
        raw = tl.load(delta + map_ * pixels + offset, inside, other=0.0)
        size, _ = _step_sizes(raw, tl.load(bias + K * channels + channel), inside, SOFTPLUS)
        total = tl.sum(size, 1 - K % 2)
        after = tl.cumsum(size, 1 - K % 2, reverse=K < 2) - size
        segment, there = _segments(row, column, height, width, K, TILE)
        for n in range(STATES):
            rate = tl.load(rates + (K * channels + channel) * STATES + n)
            state = ((batch * 4 + K) * STATES + n) * pixels
            place = (map_ * STATES + n) * segments
            term = tl.exp(rate * after) * size * own * tl.load(b + state + offset, inside, other=0.0).to(tl.float32)
            tl.store(ends + place + segment, tl.sum(term, 1 - K % 2), there)
            tl.store(passed + place + segment, tl.exp(rate * total), there)
            if GRADIENTS:
                until = _spread(total, K) - after
                term = tl.exp(rate * until) * outer * tl.load(c + state + offset, inside, other=0.0).to(tl.float32)
                tl.store(gradient_ends + place + segment, tl.sum(term, 1 - K % 2), there)


@triton.jit
def carry_kernel(
    passed, ends, starts, channels, row_segments, column_segments, segments, TURNED: tl.constexpr, BLOCK: tl.constexpr
):
    """The state that each segment begins with; with `TURNED` for scans that take the directions from their ends."""
    sequence = tl.program_id(0).to(tl.int64)
    direction = sequence // channels % 4
    count = tl.where(direction % 2 == 0, row_segments, column_segments)
    backwards = (direction >= 2) != TURNED
    carry = 0.0
    for first in range(0, count, BLOCK):
        position = first + tl.arange(0, BLOCK)
        index = tl.where(backwards, count - 1 - position, position)
        earlier = tl.where(backwards, index + 1, index - 1)
        known = (position > 0) & (position < count)
        a = tl.load(passed + sequence * segments + earlier, known, other=1.0)
        e = tl.load(ends + sequence * segments + earlier, known, other=0.0)
        a, e = tl.associative_scan((a, e), 0, _compose)
        state = a * carry + e
        tl.store(starts + sequence * segments + index, state, position < count)
        carry = tl.sum(tl.where(position == first + BLOCK - 1, state, 0.0), 0)


@triton.jit
def scan_kernel(
    x,
    delta,
    rates,
    b,
    c,
    skip,
    bias,
    starts,
    y,
    channels,
    height,
    width,
    segments,
    STATES: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    TILE: tl.constexpr,
):
    """The output of a tile, all directions added up."""
    pixels = height * width
    tiles = tl.cdiv(height, TILE) * tl.cdiv(width, TILE)
    channel = tl.program_id(0) % channels
    batch = (tl.program_id(0) // channels // tiles).to(tl.int64)
    offset, inside, row, column = _tile(tl.program_id(0) // channels % tiles, height, width, TILE)
    image = (batch * channels + channel) * pixels
    own = tl.load(x + image + offset, inside, other=0.0).to(tl.float32)
    total = tl.zeros((TILE, TILE), tl.float32)
    for K in tl.static_range(4):
        map_ = (batch * 4 + K) * channels + channel
        raw = tl.load(delta + map_ * pixels + offset, inside, other=0.0)
        size, _ = _step_sizes(raw, tl.load(bias + K * channels + channel), inside, SOFTPLUS)
        total += tl.load(skip + K * channels + channel) * own
        segment, there = _segments(row, column, height, width, K, TILE)
        for n in range(STATES):
            rate = tl.load(rates + (K * channels + channel) * STATES + n)
            state = ((batch * 4 + K) * STATES + n) * pixels
            start = tl.load(starts + (map_ * STATES + n) * segments + segment, there, other=0.0)
            a = tl.exp(rate * size)
            term = size * own * tl.load(b + state + offset, inside, other=0.0).to(tl.float32)
            total += _states(a, term, start, K, TILE) * tl.load(c + state + offset, inside, other=0.0).to(tl.float32)
    tl.store(y + image + offset, total, inside)


@triton.jit
def gradient_kernel(
    x,
    delta,
    rates,
    b,
    c,
    skip,
    bias,
    g,
    starts,
    gradient_starts,
    gx,
    gdelta,
    gb,
    gc,
    sums,
    batches,
    channels,
    height,
    width,
    segments,
    group,
    K: tl.constexpr,
    STATES: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    TILE: tl.constexpr,
):
    """Gradients of a tile in direction K for a group of channels, one channel after the other.

    `gx`, float32, goes on from the direction before. `gb` and `gc` `[groups, B, 4, N, H, W]` and `sums`
    `[B, tiles, 4, D, N + 2]`, with the gradients of A, D and the bias, are to be added up.
    """
    pixels = height * width
    tiles = tl.cdiv(height, TILE) * tl.cdiv(width, TILE)
    part = tl.program_id(0) // tiles % tl.cdiv(channels, group)
    batch = (tl.program_id(0) // tiles // tl.cdiv(channels, group)).to(tl.int64)
    tile = tl.program_id(0) % tiles
    offset, inside, row, column = _tile(tile, height, width, TILE)
    segment, there = _segments(row, column, height, width, K, TILE)
    of_states = ((part * batches + batch) * 4 + K) * STATES * pixels
    for channel in range(part * group, tl.minimum(part * group + group, channels)):
        image = (batch * channels + channel) * pixels
        map_ = (batch * 4 + K) * channels + channel
        own = tl.load(x + image + offset, inside, other=0.0).to(tl.float32)
        outer = tl.load(g + image + offset, inside, other=0.0).to(tl.float32)
        raw = tl.load(delta + map_ * pixels + offset, inside, other=0.0)
        size, slope = _step_sizes(raw, tl.load(bias + K * channels + channel), inside, SOFTPLUS)
        from_input = tl.zeros((TILE, TILE), tl.float32)
        from_decay = tl.zeros((TILE, TILE), tl.float32)
        column_sums = sums + (((batch * tiles + tile) * 4 + K) * channels + channel) * (STATES + 2)
        for n in range(STATES):
            rate = tl.load(rates + (K * channels + channel) * STATES + n)
            state = ((batch * 4 + K) * STATES + n) * pixels
            place = (map_ * STATES + n) * segments
            bt = tl.load(b + state + offset, inside, other=0.0).to(tl.float32)
            ct = tl.load(c + state + offset, inside, other=0.0).to(tl.float32)
            start = tl.load(starts + place + segment, there, other=0.0)
            coming = tl.load(gradient_starts + place + segment, there, other=0.0)
            a = tl.exp(rate * size)
            term = size * own * bt
            h = _states(a, term, start, K, TILE)
            gh = _gradients(a, outer * ct, coming, K, TILE)
            # What is left of the state before is the state less what the step added.
            through = gh * (h - term)
            from_input += gh * bt
            from_decay += through * rate
            tl.store(column_sums + n, tl.sum(tl.where(inside, through * size, 0.0)))
            gb_tile, gc_tile = gb + of_states + n * pixels + offset, gc + of_states + n * pixels + offset
            gbt, gct = gh * size * own, h * outer
            if channel > part * group:
                gbt += tl.load(gb_tile, inside, other=0.0)
                gct += tl.load(gc_tile, inside, other=0.0)
            tl.store(gb_tile, gbt, inside)
            tl.store(gc_tile, gct, inside)
        graw = tl.where(inside, (from_input * own + from_decay) * slope, 0.0)
        tl.store(gdelta + map_ * pixels + offset, graw, inside)
        tl.store(column_sums + STATES, tl.sum(own * outer))
        tl.store(column_sums + STATES + 1, tl.sum(graw))
        gown = from_input * size + tl.load(skip + K * channels + channel) * outer
        if K > 0:
            gown += tl.load(gx + image + offset, inside, other=0.0)
        tl.store(gx + image + offset, gown, inside)
        # Sums of the next channel go on from what this one has stored, perhaps in other threads.
        tl.debug_barrier()
