"""The two-dimensional selective scan on the CPU: numba, float32, vectorised over neighbouring channels.

A task is a block of channels of one image and takes its four directions in turn, so that every gradient has one writer.
Maps are read where they are if the channels of a pixel are neighbours in memory; other layouts are copied once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..threads import parallel_for
from . import cpu_gradients, cpu_lines
from .inputs import Gradients, Inputs

_WIDEST = 256
_NARROWEST = 16
# The backward pass adds up the gradients of B and C block by block: blocks of one size, whatever the threads, make it
# give the same bits.
_WIDTH_BACKWARD = 64

Array = NDArray[Any]


def _with_neighbours(image: Tensor) -> Tensor:
    """`[..., D, H, W]` with the channels of a pixel next to each other in memory."""
    if image.stride(-3) == 1 or image.shape[-3] == 1:
        return image
    return image.movedim(-3, -1).contiguous().movedim(-1, -3)


def _flat(tensor: Tensor) -> Array:
    """The memory from the first element to the last."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    array: Array = tensor.detach().as_strided((extent,), (1,)).numpy()
    return array


def _blocks(channels: int, width: int) -> Array:
    """First channel and number of channels of each block; widths are multiples of a vector's 16 lanes."""
    starts = np.arange(0, channels, width)
    return np.stack((starts, np.minimum(width, channels - starts)), axis=1)


def _width(channels: int, batch: int) -> int:
    """Wide blocks read long pieces of memory, but each thread shall have one, and the last not wait for others."""
    threads = torch.get_num_threads()
    count = -(-channels // _WIDEST)
    while batch * count % threads and batch * count < 4 * threads and channels // count > _NARROWEST:
        count += 1
    return max(_NARROWEST, -(-channels // count // _NARROWEST) * _NARROWEST)


def _parameters(inputs: Inputs) -> tuple[Array, Array, Array]:
    """A as `[4, N, D]`, D and the bias as `[4, D]`."""
    channels = inputs.x.shape[1]
    rates = inputs.A.detach().view(4, channels, -1).transpose(1, 2).contiguous().numpy()
    nothing = torch.zeros(4 * channels)
    rows = (nothing if row is None else row.detach().contiguous() for row in (inputs.D, inputs.delta_bias))
    skip, bias = (row.view(4, channels).numpy() for row in rows)
    return rates, skip, bias


def _empty(shape: torch.Size) -> Tensor:
    """`[..., D, H, W]` with neighbouring channels."""
    *outer, channels, height, width = shape
    return torch.empty(*outer, height, width, channels).movedim(-1, -3)


def _distances(*maps: Tensor) -> Array:
    """A row for each map: distances of images, directions, channels, rows and columns; none of states."""
    rows = []
    for image in maps:
        batch, *middle, channel, row, column = image.stride()
        rows.append((batch, *(middle or [0]), channel, row, column))
    return np.array(rows)


def forward(inputs: Inputs) -> Tensor:
    """`[B, D, H, W]`, float32."""
    x, delta, B, C = _with_neighbours(inputs.x), _with_neighbours(inputs.delta), inputs.B, inputs.C
    y, blocks = _empty(x.shape), _blocks(x.shape[1], _width(x.shape[1], x.shape[0]))
    maps = (x, delta, B, C, y)
    parallel_for(
        cpu_lines.forward,
        x.shape[0] * len(blocks),
        *map(_flat, maps),
        _distances(*maps),
        tuple(x.shape[2:]),
        blocks,
        *_parameters(inputs),
        inputs.softplus,
    )
    return y


def backward(inputs: Inputs, g: Tensor) -> Gradients:
    """Gradients for all inputs from the output's gradient `g`; float32."""
    x, delta, g = _with_neighbours(inputs.x), _with_neighbours(inputs.delta), _with_neighbours(g)
    B, C = inputs.B, inputs.C
    blocks = _blocks(x.shape[1], _WIDTH_BACKWARD)
    gx, gdelta = _empty(x.shape), _empty(delta.shape)
    gB, gC = (torch.empty(len(blocks), *B.shape) for _ in range(2))
    totals = torch.zeros(x.shape[0], 4, B.shape[2] + 2, x.shape[1], dtype=torch.float64)
    maps = (x, delta, B, C, g, gx, gdelta, gB[0], gC[0])
    parallel_for(
        cpu_gradients.backward,
        x.shape[0] * len(blocks),
        *map(_flat, maps[:7]),
        *(partial.view(len(blocks), -1).numpy() for partial in (gB, gC)),
        _distances(*maps),
        tuple(x.shape[2:]),
        blocks,
        *_parameters(inputs),
        inputs.softplus,
        totals.numpy(),
    )
    sums = totals.sum(0).float()
    gA = sums[:, :-2].transpose(1, 2).reshape(inputs.A.shape)
    gD = None if inputs.D is None else sums[:, -2].flatten()
    gbias = None if inputs.delta_bias is None else sums[:, -1].flatten()
    return gx, gdelta, gA, gB.sum(0), gC.sum(0), gD, gbias
