"""The causal convolution on the CPU: numba, float32, a chunk of a row at a time, SiLU while it is in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..compiled import kernel
from ..cpu_math import sigmoid
from ..memory import is_time_major, new_like
from ..threads import parallel_for
from .reference import Gradients

_CHUNK = 1024
_TOKENS = 32
_LANES = 16

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)

Array = NDArray[Any]


@kernel
def _four(x: Array, offset: int, step: int, w: Array, bias: float, silu: bool, y: Array) -> None:
    """Four taps inside a row, the usual width: `y_t` from `x[offset + t]` and the three `step` apart before it."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    first, second, third = x[offset - 3 * step :], x[offset - 2 * step :], x[offset - step :]
    last = x[offset:]
    for t in range(np.uintp(y.size)):
        total = bias + w0 * first[t] + w1 * second[t] + w2 * third[t] + w3 * last[t]
        y[t] = total * sigmoid(total) if silu else total


@kernel
def _taps(x: Array, start: int, w: Array, bias: float, silu: bool, reverse: bool, y: Array) -> None:
    """Any width, anywhere in a row; `y` begins at token `start`."""
    for t in range(np.uintp(y.size)):
        y[t] = bias
    for tap in range(w.size):
        distance = w.size - 1 - tap
        distance = -distance if reverse else distance
        first = max(0, distance - start)
        last = min(y.size, x.size + distance - start)
        if last > first:
            source, target, weight = x[start + first - distance :], y[first:last], w[tap]
            for t in range(np.uintp(target.size)):
                target[t] += weight * source[t]
    if silu:
        for t in range(np.uintp(y.size)):
            y[t] *= sigmoid(y[t])


@kernel
def _convolve(x: Array, start: int, w: Array, bias: float, silu: bool, reverse: bool, y: Array) -> None:
    inside = start + y.size + 3 <= x.size if reverse else start >= 3
    if w.size == 4 and inside:
        _four(x, start, -1 if reverse else 1, w, bias, silu, y)
    else:
        _taps(x, start, w, bias, silu, reverse, y)


@kernel
def _forward_rows(
    first: int, last: int, x: Array, weight: Array, bias: Array, silu: bool, reverse: bool, y: Array
) -> None:
    for row in range(first, last):
        d = row % weight.shape[0]
        shift = bias[d] if bias.size else _ZERO
        for start in range(0, x.shape[1], _CHUNK):
            stop = min(start + _CHUNK, x.shape[1])
            _convolve(x[row], start, weight[d], shift, silu, reverse, y[row, start:stop])


@kernel
def _accumulate(x: Array, w: Array, y: Array) -> None:
    for d in range(np.uintp(y.size)):
        y[d] += w[d] * x[d]


@kernel
def _activate(y: Array) -> None:
    for d in range(np.uintp(y.size)):
        y[d] *= sigmoid(y[d])


@kernel
def _forward_tokens(
    first: int, last: int, x: Array, weight: Array, bias: Array, silu: bool, reverse: bool, y: Array
) -> None:
    """The same for `[B, L, D]`, with `weight` `[W, D]`; an item is a block of tokens."""
    tokens, width = x.shape[1], weight.shape[0]
    blocks = (tokens + _TOKENS - 1) // _TOKENS
    for item in range(first, last):
        batch, begin = item // blocks, item % blocks * _TOKENS
        for t in range(begin, min(begin + _TOKENS, tokens)):
            row = y[batch, t]
            if bias.size:
                row[:] = bias
            else:
                row[:] = _ZERO
            for tap in range(width):
                distance = width - 1 - tap
                source = t + distance if reverse else t - distance
                if 0 <= source < tokens:
                    _accumulate(x[batch, source], weight[tap], row)
            if silu:
                _activate(row)


@kernel
def _through_silu(g: Array, y: Array) -> None:
    """Replaces the output before the SiLU by its gradient."""
    for t in range(np.uintp(g.size)):
        gate = sigmoid(y[t])
        y[t] = g[t] * gate * (_ONE + y[t] * (_ONE - gate))


@kernel
def _dot(x: Array, y: Array) -> float:
    """Sum of the products: side by side over the lanes and in float32 inside a chunk, in float64 over the chunks."""
    lanes = np.zeros(_LANES, np.float32)
    whole = x.size // _LANES
    total = 0.0
    for begin in range(0, whole, _CHUNK // _LANES):
        lanes[:] = _ZERO
        for block in range(np.uintp(begin), np.uintp(min(begin + _CHUNK // _LANES, whole))):
            for lane in range(np.uintp(_LANES)):
                t = block * np.uintp(_LANES) + lane
                lanes[lane] += x[t] * y[t]
        for lane in range(_LANES):
            total += lanes[lane]
    for t in range(whole * _LANES, x.size):
        total += x[t] * y[t]
    return total


@kernel
def _backward_rows(
    first: int,
    last: int,
    x: Array,
    weight: Array,
    bias: Array,
    g: Array,
    silu: bool,
    reverse: bool,
    gx: Array,
    sums: Array,
) -> None:
    """Gradient of x, and for each row those of its taps and its bias in `sums` `[B * D, W + 1]`."""
    tokens, width = x.shape[1], weight.shape[1]
    outer, ones = np.empty(tokens, np.float32), np.ones(tokens, np.float32)
    for row in range(first, last):
        d = row % weight.shape[0]
        shift = bias[d] if bias.size else _ZERO
        if silu:
            for start in range(0, tokens, _CHUNK):
                stop = min(start + _CHUNK, tokens)
                _convolve(x[row], start, weight[d], shift, False, reverse, outer[start:stop])
            _through_silu(g[row], outer)
        else:
            outer[:] = g[row]
        for start in range(0, tokens, _CHUNK):
            stop = min(start + _CHUNK, tokens)
            _convolve(outer, start, weight[d], _ZERO, False, not reverse, gx[row, start:stop])
        for tap in range(width):
            distance = min(width - 1 - tap, tokens)
            early, late = slice(0, tokens - distance), slice(distance, tokens)
            if reverse:
                sums[row, tap] = _dot(x[row, late], outer[early])
            else:
                sums[row, tap] = _dot(x[row, early], outer[late])
        sums[row, width] = _dot(ones, outer)


def _array(x: Tensor | None) -> Array:
    array: Array = np.empty(0, np.float32) if x is None else x.detach().contiguous().numpy()
    return array


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """`[B, D, L]` in the memory layout of `x`; float32 throughout."""
    batch, channels, tokens = x.shape
    y = new_like(x)
    if is_time_major(x):
        arguments = (_array(x.transpose(1, 2)), _array(weight.T), _array(bias), silu, reverse)
        blocks = batch * -(-tokens // _TOKENS)
        parallel_for(_forward_tokens, blocks, *arguments, y.transpose(1, 2).numpy())
    else:
        rows = _array(x).reshape(-1, tokens), _array(weight), _array(bias)
        parallel_for(_forward_rows, batch * channels, *rows, silu, reverse, y.view(-1, tokens).numpy())
    return y


def backward(x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool) -> Gradients:
    """Gradients for x, weight and bias from that of the output; float32 throughout."""
    batch, channels, tokens = x.shape
    width = weight.shape[1]
    gx = torch.empty(batch, channels, tokens)
    sums = torch.empty(batch, channels, width + 1, dtype=torch.float64)
    arguments = (_array(x).reshape(-1, tokens), _array(weight), _array(bias), _array(g).reshape(-1, tokens))
    targets = (gx.view(-1, tokens).numpy(), sums.view(-1, width + 1).numpy())
    parallel_for(_backward_rows, batch * channels, *arguments, silu, reverse, *targets)
    total = sums.sum(0)
    return gx, total[:, :width], None if bias is None else total[:, width]
