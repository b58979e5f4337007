"""The two-dimensional selective scan in Triton: three passes over tiles of the map.

A program holds one tile of one channel and scans it in all four directions: along its rows and its columns, from either
end. The part of a row or column within a tile is a segment. The first pass finds how much of a state each segment lets
through and what it adds; the second scans over the segments of a direction in their order; the third scans the tiles
from the states that segments begin with, and adds the directions up. The map is read twice and written once, and all
segments of all channels run side by side.

What a segment adds is `sum_t exp(A * (delta after t)) * delta_t B_t x_t`, which has no positive exponents for A < 0.
The gradients of the states run through the same passes from the other end. There are no atomic additions: the same
call gives the same bits.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from ..triton_tools import LAUNCH_OPTIONS
from .inputs import Gradients, Inputs
from .triton_kernels import carry_kernel, gradient_kernel, scan_kernel, summary_kernel

TILE = 32
BLOCK = 512
WARPS = 8
# Programs that add up gradients of B and C by themselves take so many channels for each state: more would leave
# the GPU idle, fewer leave much to be added up.
CHANNELS_FOR_A_STATE = 8


class _Call:
    """Contiguous inputs of a call, and what its kernels are launched with."""

    def __init__(self, inputs: Inputs) -> None:
        self.x, self.delta, self.B, self.C = (t.contiguous() for t in (inputs.x, inputs.delta, inputs.B, inputs.C))
        batch, self.channels, self.height, self.width = self.x.shape
        nothing = self.x.new_zeros(inputs.A.shape[0], dtype=torch.float32)
        self.rates = inputs.A.float().contiguous()
        self.skip, self.bias = (
            nothing if row is None else row.float().contiguous() for row in (inputs.D, inputs.delta_bias)
        )
        self.batch, self.states, self.softplus = batch, inputs.A.shape[1], inputs.softplus
        rows, columns = triton.cdiv(self.height, TILE), triton.cdiv(self.width, TILE)
        self.tiles = rows * columns
        self.row_segments, self.column_segments = self.height * columns, self.width * rows
        self.segments = max(self.row_segments, self.column_segments)

    def summaries(self, g: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of each segment what it lets through, what it adds to states and, given `g`, to their gradients."""
        shape = (self.batch, 4, self.channels, self.states, self.segments)
        passed, ends = (self.x.new_empty(shape, dtype=torch.float32) for _ in range(2))
        gradient_ends = ends if g is None else torch.empty_like(ends)
        summary_kernel[(self.batch * self.tiles * self.channels,)](
            self.x,
            self.delta,
            self.rates,
            self.B,
            self.C,
            self.bias,
            self.x if g is None else g,
            passed,
            ends,
            gradient_ends,
            self.channels,
            self.height,
            self.width,
            self.segments,
            STATES=self.states,
            SOFTPLUS=self.softplus,
            GRADIENTS=g is not None,
            TILE=TILE,
            **LAUNCH_OPTIONS,
        )
        return passed, ends, gradient_ends

    def starts(self, passed: Tensor, ends: Tensor, *, turned: bool) -> Tensor:
        """What each segment begins with."""
        starts = torch.empty_like(ends)
        carry_kernel[(ends.numel() // self.segments,)](
            passed,
            ends,
            starts,
            self.channels * self.states,
            self.row_segments,
            self.column_segments,
            self.segments,
            TURNED=turned,
            BLOCK=BLOCK,
            **LAUNCH_OPTIONS,
        )
        return starts


def forward(inputs: Inputs) -> Tensor:
    """`[B, D, H, W]`, contiguous, in the dtype of `x`."""
    call = _Call(inputs)
    passed, ends, _ = call.summaries(None)
    y = torch.empty_like(call.x)
    scan_kernel[(call.batch * call.tiles * call.channels,)](
        call.x,
        call.delta,
        call.rates,
        call.B,
        call.C,
        call.skip,
        call.bias,
        call.starts(passed, ends, turned=False),
        y,
        call.channels,
        call.height,
        call.width,
        call.segments,
        STATES=call.states,
        SOFTPLUS=call.softplus,
        TILE=TILE,
        num_warps=WARPS,
        **LAUNCH_OPTIONS,
    )
    return y


def backward(inputs: Inputs, g: Tensor) -> Gradients:
    """Gradients for all inputs from the output's gradient `g`."""
    call, g = _Call(inputs), g.contiguous()
    passed, ends, gradient_ends = call.summaries(g)
    group = min(call.channels, CHANNELS_FOR_A_STATE * call.states)
    groups = triton.cdiv(call.channels, group)
    gx = torch.empty_like(call.x, dtype=torch.float32)
    gdelta = torch.empty_like(call.delta)
    gB, gC = (call.x.new_empty(groups, *call.B.shape, dtype=torch.float32) for _ in range(2))
    sums = gx.new_empty(call.batch * call.tiles, 4, call.channels, call.states + 2)
    starts = call.starts(passed, ends, turned=False)
    gradient_starts = call.starts(passed, gradient_ends, turned=True)
    for direction in range(4):
        gradient_kernel[(call.batch * groups * call.tiles,)](
            call.x,
            call.delta,
            call.rates,
            call.B,
            call.C,
            call.skip,
            call.bias,
            g,
            starts,
            gradient_starts,
            gx,
            gdelta,
            gB,
            gC,
            sums,
            call.batch,
            call.channels,
            call.height,
            call.width,
            call.segments,
            group,
            K=direction,
            STATES=call.states,
            SOFTPLUS=call.softplus,
            TILE=TILE,
            num_warps=WARPS,
            **LAUNCH_OPTIONS,
        )
    parameters = sums.sum(0, dtype=torch.float64).float()
    gA = parameters[..., : call.states].reshape(inputs.A.shape)
    gD = None if inputs.D is None else parameters[..., call.states].flatten()
    gbias = None if inputs.delta_bias is None else parameters[..., call.states + 1].flatten()
    return gx, gdelta, gA, gB.sum(0), gC.sum(0), gD, gbias
