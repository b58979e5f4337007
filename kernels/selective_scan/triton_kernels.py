"""Triton kernels of the selective scan: float32 arithmetic on any storage, `[channels, tokens]` tiles, any strides.

The sequence is cut into blocks of tokens. `block_ends` gives what each block adds to the state, without a scan: from a
sum over tokens whose exponents count the steps behind them. `block_starts` scans over the blocks. `scan` then serves
all blocks at once; or, where there are rows enough to fill the GPU, walks through the blocks of a row itself. A block
is scanned along its tokens in registers, one state after the other. The backward pass is made of the same three steps.

Tiles stay in memory order; a reversed direction scans them from the other end. A tile lies in one section, so it has
one group and one direction: `directions` has a bit for each of `flags` equal runs of channels. `states` is
`[B, blocks, N, D]`; `x_b`, `x_d`, `x_g`, `x_n`, `x_t` are the strides of x. Sequences may be read up to `limit`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..series import ATANH

_LOG2_E = tl.constexpr(1.4426950408889634)
_A0, _A1, _A2, _A3 = (tl.constexpr(coefficient) for coefficient in ATANH)


@triton.jit
def _softplus(x):
    e = tl.exp(-tl.abs(x))
    s = e / (2.0 + e)
    q = s * s
    return tl.maximum(x, 0.0) + 2.0 * (s + s * (q * (((_A3 * q + _A2) * q + _A1) * q + _A0)))


@triton.jit
def sigmoid(x):
    """1 / (1 + e**-x), for other kernels too."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x > 0, 1.0, e) / (1.0 + e)


@triton.jit
def _compose(decay, term, next_decay, next_term):
    return next_decay * decay, next_decay * term + next_term


@triton.jit
def _channels(tile, channels, size, groups, flags, directions, CHANNELS: tl.constexpr):
    """Channels of a tile and which of them exist; its group, and whether it is reversed."""
    tiles = tl.cdiv(size, CHANNELS)
    first = tile // tiles * size
    local = tile % tiles * CHANNELS + tl.arange(0, CHANNELS)
    group = first // (channels // groups)
    return first + local, local < size, group, (directions >> (first // (channels // flags))) & 1


@triton.jit
def _tile(pointer, batch, d, t, sb, sd, st, mask):
    offset = batch * sb + d.to(tl.int64)[:, None] * sd + t[None, :] * st
    return tl.load(pointer + offset, mask, other=0.0).to(tl.float32)


@triton.jit
def _row(pointer, batch, group, n, t, sb, sg, sn, st, mask):
    offset = batch * sb + group * sg + n * sn + t * st
    return tl.load(pointer + offset, mask, other=0.0).to(tl.float32)


@triton.jit
def _raw_step(delta, bias, batch, d, t, sb, sd, st, mask, d_mask, HAS_BIAS: tl.constexpr):
    raw = _tile(delta, batch, d, t, sb, sd, st, mask)
    if HAS_BIAS:
        raw += tl.load(bias + d, d_mask, other=0.0)[:, None]
    return raw


@triton.jit
def _step(raw, mask, SOFTPLUS: tl.constexpr):
    """Zero outside the mask, after the softplus: such tokens leave the state as it is."""
    return tl.where(mask, _softplus(raw) if SOFTPLUS else raw, 0.0)


@triton.jit
def block_ends(
    u, delta, A, weights, z, bias, ends, totals,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, w_b, w_g, w_n, w_t, z_b, z_d, z_t,
    channels, tokens, limit, blocks, size, groups, flags, directions,
    N: tl.constexpr, ADJOINT: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """State that a block leaves behind from none before it, and the sum of its steps.

    With `ADJOINT`, `u` is the gradient of the output and `weights` is C: what the gradient of the state before a block
    gets from the outputs in it. The gate belongs to this case.
    """
    batch = tl.program_id(2).to(tl.int64)
    block = tl.program_id(1)
    d, d_mask, group, reverse = _channels(tl.program_id(0), channels, size, groups, flags, directions, CHANNELS)
    t = block * TOKENS + tl.arange(0, TOKENS)
    t_mask = t < limit
    mask = d_mask[:, None] & t_mask[None, :]
    valid = d_mask[:, None] & (t < tokens)[None, :]
    raw = _raw_step(delta, bias, batch, d, t, delta_b, delta_d, delta_t, mask, d_mask, HAS_BIAS)
    step = _step(raw, valid, SOFTPLUS)
    x = _tile(u, batch, d, t, u_b, u_d, u_t, mask)
    if ADJOINT:
        if HAS_Z:
            gate = _tile(z, batch, d, t, z_b, z_d, z_t, mask)
            x *= gate * sigmoid(gate)
    else:
        x *= step
    tl.store(totals + (batch * blocks + block) * channels + d, tl.sum(step, 1), d_mask)
    # A term decays by the steps after its own; a gradient by its own too, and by those before.
    before, after = tl.cumsum(step, 1), tl.cumsum(step, 1, reverse=True)
    backwards = reverse == 0 if ADJOINT else reverse != 0
    age = tl.where(backwards, before, after)
    if not ADJOINT:
        age -= step
    for n in range(N):
        rate = tl.load(A + d * N + n, d_mask, other=0.0) * _LOG2_E
        w = _row(weights, batch, group, n, t, w_b, w_g, w_n, w_t, t_mask)
        end = tl.sum(tl.exp2(rate[:, None] * age) * (x * w[None, :]), 1)
        tl.store(ends + ((batch * blocks + block) * N + n) * channels + d, end, d_mask)


@triton.jit
def block_starts(
    ends, totals, A, first, starts, last, channels, blocks, size, groups, flags, directions,
    N: tl.constexpr, ADJOINT: tl.constexpr, HAS_FIRST: tl.constexpr, HAS_LAST: tl.constexpr,
    CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """State before each block, in the order of the scan (with `ADJOINT`, against it), and after the last."""
    batch = tl.program_id(2).to(tl.int64)
    n = tl.program_id(1)
    d, d_mask, _, reverse = _channels(tl.program_id(0), channels, size, groups, flags, directions, CHANNELS)
    backwards = reverse ^ 1 if ADJOINT else reverse
    rate = tl.load(A + d * N + n, d_mask, other=0.0) * _LOG2_E
    state = tl.zeros([CHANNELS], tl.float32)
    if HAS_FIRST:
        state = tl.load(first + (batch * channels + d) * N + n, d_mask, other=0.0)
    final = tl.zeros([CHANNELS], tl.float32)
    rows = tl.arange(0, BLOCKS)
    for at in range(0, blocks + 1, BLOCKS):
        # A row takes what the block before it adds, so the scan gives the state before its own.
        own = at + rows
        previous = own - 1
        there = tl.where(backwards != 0, blocks - 1 - previous, previous)
        here = tl.where(backwards != 0, blocks - 1 - own, own)
        given = ((previous >= 0) & (previous < blocks))[:, None] & d_mask[None, :]
        row = batch * blocks + there
        total = tl.load(totals + row[:, None] * channels + d[None, :], given, other=0.0)
        end = tl.load(ends + (row * N + n)[:, None] * channels + d[None, :], given, other=0.0)
        decay, term = tl.associative_scan((tl.exp2(total * rate[None, :]), end), 0, _compose)
        value = decay * state[None, :] + term
        place = ((batch * blocks + here) * N + n)[:, None] * channels + d[None, :]
        tl.store(starts + place, value, (own < blocks)[:, None] & d_mask[None, :])
        final += tl.sum(tl.where((own == blocks)[:, None], value, 0.0), 0)
        state = tl.sum(tl.where((rows == BLOCKS - 1)[:, None], value, 0.0), 0)
    if HAS_LAST:
        tl.store(last + (batch * channels + d) * N + n, final, d_mask)


@triton.jit
def _scan_blocks(
    begin, end, u, delta, A, B, C, D, z, bias, states, last, out,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
    out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
    REVERSE: tl.constexpr, N: tl.constexpr, WALK: tl.constexpr, SOFTPLUS: tl.constexpr,
    HAS_D: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    local = tl.arange(0, TOKENS)
    entry = (local == (TOKENS - 1 if REVERSE else 0))[None, :]
    exit_ = (local == (0 if REVERSE else TOKENS - 1))[None, :]
    state = tl.zeros([CHANNELS], tl.float32)
    for turn in range(begin, end):
        block = blocks - 1 - turn if WALK and REVERSE else turn
        t = block * TOKENS + local
        t_mask = t < limit
        mask = d_mask[:, None] & t_mask[None, :]
        valid = d_mask[:, None] & (t < tokens)[None, :]
        raw = _raw_step(delta, bias, batch, d, t, delta_b, delta_d, delta_t, mask, d_mask, HAS_BIAS)
        step = _step(raw, valid, SOFTPLUS)
        x = _tile(u, batch, d, t, u_b, u_d, u_t, mask)
        term = step * x
        y = x * tl.load(D + d, d_mask, other=0.0)[:, None] if HAS_D else tl.zeros_like(x)
        for n in range(N):
            place = ((batch * blocks + block) * N + n) * channels + d
            if not (WALK and N == 1):
                state = tl.load(states + place, d_mask, other=0.0)
            rate = tl.load(A + d * N + n, d_mask, other=0.0) * _LOG2_E
            decay = tl.exp2(rate[:, None] * step)
            b = _row(B, batch, group, n, t, B_b, B_g, B_n, B_t, t_mask)
            c = _row(C, batch, group, n, t, C_b, C_g, C_n, C_t, t_mask)
            h = term * b[None, :] + tl.where(entry, decay * state[:, None], 0.0)
            _, h = tl.associative_scan((decay, h), 1, _compose, reverse=REVERSE)
            y += h * c[None, :]
            if WALK:
                state = tl.sum(tl.where(exit_, h, 0.0), 1)
                if N > 1:
                    following = block - 1 if REVERSE else block + 1
                    goes_on = tl.full([CHANNELS], turn + 1, tl.int32) < blocks
                    place = ((batch * blocks + following) * N + n) * channels + d
                    tl.store(states + place, state, d_mask & goes_on)
                    tl.store(last + (batch * channels + d) * N + n, state, d_mask & (goes_on == 0))
        if HAS_Z:
            gate = _tile(z, batch, d, t, z_b, z_d, z_t, mask)
            y *= gate * sigmoid(gate)
        tl.store(out + batch * out_b + d.to(tl.int64)[:, None] * out_d + t[None, :] * out_t, y, valid)
        if WALK and N > 1:
            # The next turn reads states that other threads wrote.
            tl.debug_barrier()
    if WALK and N == 1:
        tl.store(last + batch * channels + d, state, d_mask)


@triton.jit
def scan(
    u, delta, A, B, C, D, z, bias, states, last, out,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
    out_b, out_d, out_t, channels, tokens, limit, blocks, size, groups, flags, directions,
    N: tl.constexpr, WALK: tl.constexpr, SOFTPLUS: tl.constexpr,
    HAS_D: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Outputs, from the state before each block; or, with `WALK`, block after block, from `states` of zeros."""
    batch = tl.program_id(2).to(tl.int64)
    d, d_mask, group, reverse = _channels(tl.program_id(0), channels, size, groups, flags, directions, CHANNELS)
    begin = 0 if WALK else tl.program_id(1)
    end = blocks if WALK else tl.program_id(1) + 1
    if reverse != 0:
        _scan_blocks(
            begin, end, u, delta, A, B, C, D, z, bias, states, last, out,
            u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
            out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
            True, N, WALK, SOFTPLUS, HAS_D, HAS_Z, HAS_BIAS, CHANNELS, TOKENS,
        )  # fmt: skip
    else:
        _scan_blocks(
            begin, end, u, delta, A, B, C, D, z, bias, states, last, out,
            u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
            out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
            False, N, WALK, SOFTPLUS, HAS_D, HAS_Z, HAS_BIAS, CHANNELS, TOKENS,
        )  # fmt: skip


@triton.jit
def _block_gradients(  # noqa: PLR0915
    u, delta, A, B, C, D, z, bias, g, states, carries, gu, g_delta, gz, g_rate, g_row, gb, gc,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
    g_b, g_d, g_t, out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
    REVERSE: tl.constexpr, N: tl.constexpr, SOFTPLUS: tl.constexpr,
    HAS_D: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(1)
    local = tl.arange(0, TOKENS)
    t = block * TOKENS + local
    t_mask = t < limit
    mask = d_mask[:, None] & t_mask[None, :]
    valid = d_mask[:, None] & (t < tokens)[None, :]
    raw = _raw_step(delta, bias, batch, d, t, delta_b, delta_d, delta_t, mask, d_mask, HAS_BIAS)
    step = _step(raw, valid, SOFTPLUS)
    # A gradient comes back through the decay of the token after its own.
    after = t - 1 if REVERSE else t + 1
    after_mask = d_mask[:, None] & ((after >= 0) & (after < tokens))[None, :]
    raw_after = _raw_step(delta, bias, batch, d, after, delta_b, delta_d, delta_t, after_mask, d_mask, HAS_BIAS)
    step_after = _step(raw_after, after_mask, SOFTPLUS)
    x = _tile(u, batch, d, t, u_b, u_d, u_t, mask)
    dy = _tile(g, batch, d, t, g_b, g_d, g_t, mask)
    skip = tl.load(D + d, d_mask, other=0.0)[:, None] if HAS_D else tl.zeros_like(x)
    y = skip * x
    if HAS_Z:
        gate = _tile(z, batch, d, t, z_b, z_d, z_t, mask)
        dy *= gate * sigmoid(gate)
    entry = (local == (TOKENS - 1 if REVERSE else 0))[None, :]
    exit_ = (local == (0 if REVERSE else TOKENS - 1))[None, :]
    from_input = tl.zeros_like(x)
    from_decay = tl.zeros_like(x)
    tile_row = (batch * tl.num_programs(0) + tl.program_id(0)) * N
    for n in range(N):
        place = ((batch * blocks + block) * N + n) * channels + d
        state = tl.load(states + place, d_mask, other=0.0)
        carry = tl.load(carries + place, d_mask, other=0.0)
        rate = tl.load(A + d * N + n, d_mask, other=0.0)
        b = _row(B, batch, group, n, t, B_b, B_g, B_n, B_t, t_mask)[None, :]
        c = _row(C, batch, group, n, t, C_b, C_g, C_n, C_t, t_mask)[None, :]
        decay = tl.exp2((rate * _LOG2_E)[:, None] * step)
        h = step * x * b + tl.where(entry, decay * state[:, None], 0.0)
        _, h = tl.associative_scan((decay, h), 1, _compose, reverse=REVERSE)
        decay = tl.exp2((rate * _LOG2_E)[:, None] * step_after)
        grad = dy * c + tl.where(exit_, carry[:, None], 0.0)
        _, grad = tl.associative_scan((decay, grad), 1, _compose, reverse=not REVERSE)
        from_input += grad * b
        through = grad * (h - step * x * b)
        from_decay += through * rate[:, None]
        if HAS_Z:
            y += h * c
        tl.store(g_rate + place, tl.sum(through * step, 1), d_mask)
        tl.store(gb + (tile_row + n) * limit + t, tl.sum(grad * (step * x), 0), t_mask)
        tl.store(gc + (tile_row + n) * limit + t, tl.sum(dy * h, 0), t_mask)
    # What only the last lines need is loaded once more, for want of registers in the loop.
    slope = from_decay + x * from_input
    if SOFTPLUS:
        slope *= sigmoid(_raw_step(delta, bias, batch, d, t, delta_b, delta_d, delta_t, mask, d_mask, HAS_BIAS))
    slope = tl.where(valid, slope, 0.0)
    offset = batch * out_b + d.to(tl.int64)[:, None] * out_d + t[None, :] * out_t
    tl.store(gu + offset, skip * dy + step * from_input, valid)
    tl.store(g_delta + offset, slope, valid)
    if HAS_Z:
        gate = _tile(z, batch, d, t, z_b, z_d, z_t, mask)
        open_ = sigmoid(gate)
        outer = _tile(g, batch, d, t, g_b, g_d, g_t, mask)
        tl.store(gz + offset, outer * y * open_ * (1.0 + gate * (1.0 - open_)), valid)
    row = (batch * blocks + block) * 2 * channels + d
    tl.store(g_row + row, tl.sum(dy * x, 1), d_mask)
    tl.store(g_row + row + channels, tl.sum(slope, 1), d_mask)


@triton.jit
def gradients(
    u, delta, A, B, C, D, z, bias, g, states, carries, gu, g_delta, gz, g_rate, g_row, gb, gc,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
    g_b, g_d, g_t, out_b, out_d, out_t, channels, tokens, limit, blocks, size, groups, flags, directions,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, HAS_D: tl.constexpr, HAS_Z: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """All gradients of a block, from the states before it and their gradients after it.

    Those of A are sums over the block, `g_rate` `[B, blocks, N, D]`; those of D and the bias too, `g_row`
    `[B, blocks, 2, D]`; those of B and C are sums over the tile's channels, `[B, tiles, N, limit]`.
    """
    batch = tl.program_id(2).to(tl.int64)
    d, d_mask, group, reverse = _channels(tl.program_id(0), channels, size, groups, flags, directions, CHANNELS)
    if reverse != 0:
        _block_gradients(
            u, delta, A, B, C, D, z, bias, g, states, carries, gu, g_delta, gz, g_rate, g_row, gb, gc,
            u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
            g_b, g_d, g_t, out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
            True, N, SOFTPLUS, HAS_D, HAS_Z, HAS_BIAS, TOKENS,
        )  # fmt: skip
    else:
        _block_gradients(
            u, delta, A, B, C, D, z, bias, g, states, carries, gu, g_delta, gz, g_rate, g_row, gb, gc,
            u_b, u_d, u_t, delta_b, delta_d, delta_t, B_b, B_g, B_n, B_t, C_b, C_g, C_n, C_t, z_b, z_d, z_t,
            g_b, g_d, g_t, out_b, out_d, out_t, channels, tokens, limit, blocks, batch, d, d_mask, group,
            False, N, SOFTPLUS, HAS_D, HAS_Z, HAS_BIAS, TOKENS,
        )  # fmt: skip
