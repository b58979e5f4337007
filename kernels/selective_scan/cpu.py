"""The selective scan on the CPU: lays the arguments out for the compiled loops and shares their work out to threads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..memory import is_time_major, new_like
from ..threads import parallel_for
from . import cpu_rows, cpu_tiles, cpu_tiles_backward
from .cpu_call import Array, Call, Targets
from .layout import Inputs, Sections
from .reference import Gradients

_CHANNELS_BACK, _SPAN_BACK = 128, 64


def chunk_length(states: int) -> int:
    """Tokens between two states that the forward pass keeps: what the states in between fill stays in the cache."""
    return 256 if states == 1 else 32


def saved_shape(batch: int, channels: int, tokens: int, states: int) -> list[int]:
    """Of the states that the forward pass keeps."""
    return [batch, -(-tokens // chunk_length(states)), states, channels]


def _blocks(sections: Sections, length: int) -> Array:
    """First channel, channels, group and direction of each run of at most `length` channels."""
    runs = [
        (section * sections.size + start, min(length, sections.size - start), group, reverse)
        for section, (group, reverse) in enumerate(zip(sections.group, sections.reverse, strict=True))
        for start in range(0, sections.size, length)
    ]
    return np.array(runs, np.int64)


def _read_at_once(channels: int, time_major: bool) -> tuple[int, int]:
    """Channels of a block and tokens of a span, so that memory is read in long stretches and stays in the cache."""
    if not time_major:
        return 2 * cpu_tiles.WIDTH, 128
    share = -(-channels // torch.get_num_threads())
    tiles = -(-share // cpu_tiles.WIDTH)
    return cpu_tiles.WIDTH * max(4, min(24, tiles)), 32


def _array(x: Tensor | None) -> Array:
    array: Array = np.empty(0, np.float32) if x is None else x.detach().contiguous().numpy()
    return array


def _sequence(x: Tensor | None, time_major: bool) -> Array:
    """`[B, D, L]`, or `[B, L, D]`; absent ones have no elements."""
    if x is None:
        return np.empty((0, 0, 0), np.float32)
    return _array(x.transpose(1, 2) if time_major else x)


def _call(inputs: Inputs, softplus: bool, blocks: Array, *, time_major: bool, by_rows: bool) -> Call:
    """A as `[N, D]`; B and C as `[B, G, L, N]`, by rows without N."""
    rates, b, c = (_array(x) for x in (inputs.A.T, inputs.B.transpose(2, 3), inputs.C.transpose(2, 3)))
    u, delta, z = (_sequence(x, time_major) for x in (inputs.u, inputs.delta, inputs.z))
    b, c = (b[..., 0], c[..., 0]) if by_rows else (b, c)
    skip, bias, states = _array(inputs.D), _array(inputs.delta_bias), inputs.A.shape[1]
    tokens = inputs.u.shape[2]
    return Call(u, delta, rates, b, c, skip, z, bias, softplus, blocks, tokens, chunk_length(states))


def _by_rows(inputs: Inputs) -> bool:
    return inputs.A.shape[1] == 1 and not is_time_major(inputs.u)


def forward(inputs: Inputs, softplus: bool, sections: Sections, *, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output `[B, D, L]`, last state `[B, D, N]` and, where `save`, the state before each chunk; float32 throughout."""
    batch, channels, tokens = inputs.u.shape
    states = inputs.A.shape[1]
    by_rows, time_major = _by_rows(inputs), is_time_major(inputs.u)
    out = new_like(inputs.u)
    last_state = torch.empty(batch, states, channels)
    saved = torch.empty(saved_shape(batch, channels, tokens, states)) if save else None
    kept = np.empty((0, 0, 0, 0), np.float32) if saved is None else saved.numpy()
    width, span = (cpu_rows.ROWS, 0) if by_rows else _read_at_once(sections.size, time_major)
    blocks = _blocks(sections, width)
    call = _call(inputs, softplus, blocks, time_major=time_major, by_rows=by_rows)
    results = (_sequence(out, time_major), last_state.numpy(), kept)
    if by_rows:
        parallel_for(cpu_rows.forward, batch * len(blocks), call, *results)
    else:
        parallel_for(cpu_tiles.forward, batch * len(blocks), call, time_major, max(call.chunk, span), *results)
    return out, last_state.transpose(1, 2), saved


def backward(
    inputs: Inputs, softplus: bool, sections: Sections, saved: Tensor, g: Tensor, g_last: Tensor | None
) -> Gradients:
    """Gradients for all inputs from those of the output and of the last state; float32 throughout."""
    batch, channels, tokens = inputs.u.shape
    groups, states = inputs.B.shape[1:3]
    by_rows, time_major = _by_rows(inputs), is_time_major(inputs.u)
    gu, g_delta = new_like(inputs.u), new_like(inputs.u)
    gz = None if inputs.z is None else new_like(inputs.u)
    g_rates = torch.zeros(batch, states, channels, dtype=torch.float64)
    g_rows = torch.zeros(batch, 2, channels, dtype=torch.float64)
    blocks = _blocks(sections, cpu_rows.ROWS if by_rows else _CHANNELS_BACK)
    gb, gc = (torch.empty(batch, len(blocks), tokens, states) for _ in range(2))
    call = _call(inputs, softplus, blocks, time_major=time_major, by_rows=by_rows)
    carried = np.empty((0, 0, 0), np.float32) if g_last is None else _array(g_last.transpose(1, 2))
    given = (saved.numpy(), _sequence(g, time_major), carried)
    u, delta, z = (_sequence(x, time_major) for x in (gu, g_delta, gz))
    b, c = (x.numpy()[..., 0] if by_rows else x.numpy() for x in (gb, gc))
    targets = Targets(u, delta, z, g_rates.numpy(), g_rows.numpy(), b, c)
    if by_rows:
        parallel_for(cpu_rows.backward, batch * len(blocks), call, *given, targets)
    else:
        span = max(call.chunk, _SPAN_BACK)
        parallel_for(cpu_tiles_backward.backward, batch * len(blocks), call, time_major, span, *given, targets)
    gB, gC = (x.unflatten(1, (groups, -1)).sum(2).transpose(2, 3) for x in (gb, gc))
    gD, gbias = g_rows.sum(0)
    return (
        gu,
        g_delta,
        g_rates.sum(0).T,
        gB,
        gC,
        None if inputs.D is None else gD,
        gz,
        None if inputs.delta_bias is None else gbias,
    )
