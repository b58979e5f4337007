"""The causal convolution on GPUs: Triton, `[channels, tokens]` tiles, neighbours come from the first-level cache."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..memory import is_time_major, new_like, on_device
from ..selective_scan.triton_kernels import sigmoid
from ..triton_tools import LAUNCH_OPTIONS
from .reference import Gradients

_TILE = 1024
_WARPS = 4


@triton.jit
def _tile(pointer, batch, d, t, sb, sd, st, d_mask, tokens):
    mask = d_mask[:, None] & ((t >= 0) & (t < tokens))[None, :]
    offset = batch * sb + d.to(tl.int64)[:, None] * sd + t.to(tl.int64)[None, :] * st
    return tl.load(pointer + offset, mask, other=0.0).to(tl.float32)


@triton.jit
def _linear(x, weight, bias, batch, d, t, x_b, x_d, x_t, d_mask, tokens,
            WIDTH: tl.constexpr, REVERSE: tl.constexpr, HAS_BIAS: tl.constexpr,
            CHANNELS: tl.constexpr, TOKENS: tl.constexpr):  # fmt: skip
    y = tl.zeros([CHANNELS, TOKENS], tl.float32)
    if HAS_BIAS:
        y += tl.load(bias + d, d_mask, other=0.0)[:, None]
    for tap in tl.static_range(WIDTH):
        distance = tap - (WIDTH - 1) if REVERSE else WIDTH - 1 - tap
        share = tl.load(weight + d * WIDTH + tap, d_mask, other=0.0)
        y += share[:, None] * _tile(x, batch, d, t - distance, x_b, x_d, x_t, d_mask, tokens)
    return y


@triton.jit
def _forward_kernel(
    x, weight, bias, y, x_b, x_d, x_t, y_b, y_d, y_t, channels, tokens,
    WIDTH: tl.constexpr, SILU: tl.constexpr, REVERSE: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(2).to(tl.int64)
    d = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    t = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    d_mask = d < channels
    value = _linear(x, weight, bias, batch, d, t, x_b, x_d, x_t, d_mask, tokens,
                    WIDTH, REVERSE, HAS_BIAS, CHANNELS, TOKENS)  # fmt: skip
    if SILU:
        value *= sigmoid(value)
    offset = batch * y_b + d.to(tl.int64)[:, None] * y_d + t.to(tl.int64)[None, :] * y_t
    tl.store(y + offset, value, d_mask[:, None] & (t < tokens)[None, :])


@triton.jit
def _outer(x, weight, bias, g, batch, d, t, x_b, x_d, x_t, g_b, g_d, g_t, d_mask, tokens,
           WIDTH: tl.constexpr, SILU: tl.constexpr, REVERSE: tl.constexpr, HAS_BIAS: tl.constexpr,
           CHANNELS: tl.constexpr, TOKENS: tl.constexpr):  # fmt: skip
    """Gradient of the output before the SiLU; zero outside the sequence, as the loaded one is."""
    outer = _tile(g, batch, d, t, g_b, g_d, g_t, d_mask, tokens)
    if SILU:
        y = _linear(x, weight, bias, batch, d, t, x_b, x_d, x_t, d_mask, tokens,
                    WIDTH, REVERSE, HAS_BIAS, CHANNELS, TOKENS)  # fmt: skip
        gate = sigmoid(y)
        outer *= gate * (1.0 + y * (1.0 - gate))
    return outer


@triton.jit
def _backward_kernel(
    x, weight, bias, g, gx, sums, x_b, x_d, x_t, g_b, g_d, g_t, y_b, y_d, y_t, channels, tokens,
    WIDTH: tl.constexpr, SILU: tl.constexpr, REVERSE: tl.constexpr, HAS_BIAS: tl.constexpr,
    CHANNELS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Gradient of x, and the sums over the tile for taps and bias: `sums` `[B, blocks, W + 1, D]`."""
    batch = tl.program_id(2).to(tl.int64)
    d = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    t = tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)
    d_mask = d < channels
    gradient = tl.zeros([CHANNELS, TOKENS], tl.float32)
    own = _tile(x, batch, d, t, x_b, x_d, x_t, d_mask, tokens)
    place = (batch * tl.num_programs(1) + tl.program_id(1)) * (WIDTH + 1) * channels + d
    for tap in tl.static_range(WIDTH):
        distance = tap - (WIDTH - 1) if REVERSE else WIDTH - 1 - tap
        share = tl.load(weight + d * WIDTH + tap, d_mask, other=0.0)
        # What this token gave to the one `distance` on.
        outer = _outer(x, weight, bias, g, batch, d, t + distance, x_b, x_d, x_t, g_b, g_d, g_t, d_mask, tokens,
                       WIDTH, SILU, REVERSE, HAS_BIAS, CHANNELS, TOKENS)  # fmt: skip
        gradient += share[:, None] * outer
        tl.store(sums + place + tap * channels, tl.sum(own * outer, 1), d_mask)
        if distance == 0:
            tl.store(sums + place + WIDTH * channels, tl.sum(outer, 1), d_mask)
    offset = batch * y_b + d.to(tl.int64)[:, None] * y_d + t.to(tl.int64)[None, :] * y_t
    tl.store(gx + offset, gradient, d_mask[:, None] & (t < tokens)[None, :])


def _launch(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> tuple[Any, dict[str, Any]]:
    """The grid and the constants that both kernels share; tiles are long in the direction in which memory runs."""
    batch, channels, tokens = x.shape
    longest = min(_TILE, 32 if is_time_major(x) else 512)
    length = min(longest, max(16, triton.next_power_of_2(tokens)))
    width = min(_TILE // length, triton.next_power_of_2(channels))
    constants = {
        "WIDTH": weight.shape[1],
        "SILU": silu,
        "REVERSE": reverse,
        "HAS_BIAS": bias is not None,
        "CHANNELS": width,
        "TOKENS": length,
        "num_warps": _WARPS,
        **LAUNCH_OPTIONS,
    }
    return (triton.cdiv(channels, width), triton.cdiv(tokens, length), batch), constants


def _rows(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    weight = weight.float().contiguous()
    return weight, weight if bias is None else bias.float().contiguous()


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """`[B, D, L]` in the dtype and memory layout of `x`."""
    grid, constants = _launch(x, weight, bias, silu, reverse)
    y = new_like(x)
    with on_device(x):
        _forward_kernel[grid](x, *_rows(weight, bias), y, *x.stride(), *y.stride(), *x.shape[1:], **constants)
    return y


def backward(x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool) -> Gradients:
    """Gradients for x, weight and bias from that of the output; the same from run to run."""
    grid, constants = _launch(x, weight, bias, silu, reverse)
    gx = new_like(x)
    width = weight.shape[1]
    sums = torch.empty((x.shape[0], grid[1], width + 1, x.shape[1]), dtype=torch.float32, device=x.device)
    strides = (*x.stride(), *g.stride(), *gx.stride())
    with on_device(x):
        _backward_kernel[grid](x, *_rows(weight, bias), g, gx, sums, *strides, *x.shape[1:], **constants)
    total = sums.sum((0, 1))
    return gx, total[:width].T, None if bias is None else total[width]
