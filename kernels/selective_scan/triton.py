"""The selective scan on GPUs: sizes of tiles, launches, and the sums that the kernels leave to be finished."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from ...errors import BackendError
from ..memory import is_time_major, new_like, on_device
from ..triton_tools import LAUNCH_OPTIONS
from . import triton_kernels as kernels
from .layout import Inputs, Sections
from .reference import Gradients

_MOST_FLAGS = 30
_BLOCKS_AT_ONCE = 32
# Triton reads 16 bytes at a time where it knows that addresses and lengths are multiples of this.
_ALIGNED = 16


@dataclass(frozen=True)
class Tile:
    """What one program holds at a time."""

    channels: int
    tokens: int
    warps: int


# Rows (batch * channels) from which on walking through the blocks of a row fills a GPU, with one state and with more.
ROWS_TO_WALK = (512, 4096)
# Longest tiles: for blocks that run side by side, their gradients, and walks with one state and with more.
BLOCK_TILE = Tile(8, 128, 4)
GRADIENT_TILE = Tile(16, 128, 8)
START_TILE = Tile(64, _BLOCKS_AT_ONCE, 4)
WALK_TILES = (Tile(1, 1024, 4), Tile(8, 128, 4))


def _fitted(tile: Tile, tokens: int, channels: int) -> Tile:
    """No longer than the sequence and no wider than a section."""
    length = min(tile.tokens, max(16, triton.next_power_of_2(tokens)))
    return Tile(min(tile.channels, triton.next_power_of_2(channels)), length, tile.warps)


def saved_shape(batch: int, channels: int, tokens: int, states: int) -> list[int]:
    """Of the states that the forward pass keeps: those before each block."""
    return [batch, -(-tokens // _fitted(BLOCK_TILE, tokens, channels).tokens), states, channels]


class _Launch:
    """What all kernels of one call share: the tensors, their strides and the geometry.

    Raises:
        BackendError: More directions than the kernels tell apart.
    """

    def __init__(self, inputs: Inputs, softplus: bool, sections: Sections) -> None:
        self.batch, self.channels, self.tokens = inputs.u.shape
        self.groups, self.states = inputs.B.shape[1:3]
        self.sections = sections
        flags = 1 if len(set(sections.reverse)) == 1 else len(sections.reverse)
        if flags > _MOST_FLAGS:
            raise BackendError(
                f"selective_scan: backend 'triton' tells at most {_MOST_FLAGS} runs of channels apart, got {flags}"
            )
        bits = sum(1 << index for index, reverse in enumerate(sections.reverse[:flags]) if reverse)
        self.directions = (sections.size, self.groups, flags, bits)
        self.limit = self.tokens if is_time_major(inputs.u) else -(-self.tokens // _ALIGNED) * _ALIGNED
        self.u, self.delta, self.B, self.C = map(self.padded, (inputs.u, inputs.delta, inputs.B, inputs.C))
        self.A = inputs.A.float().contiguous()
        # An absent tensor is stood in for by one that is not read.
        self.D = self.A if inputs.D is None else inputs.D.float().contiguous()
        self.bias = self.A if inputs.delta_bias is None else inputs.delta_bias.float().contiguous()
        self.z = self.u if inputs.z is None else self.padded(inputs.z)
        self.scalars = {"N": self.states, "SOFTPLUS": softplus, "HAS_BIAS": inputs.delta_bias is not None}
        self.optional = {"HAS_D": inputs.D is not None, "HAS_Z": inputs.z is not None}

    def padded(self, x: Tensor) -> Tensor:
        """`x` with zeros up to the limit: rows of odd length would be read, and scanned, one token to a thread."""
        if self.limit == self.tokens:
            return x
        longer = torch.zeros((*x.shape[:-1], self.limit), dtype=x.dtype, device=x.device)
        longer[..., : self.tokens] = x
        return longer

    def tile(self, tile: Tile) -> Tile:
        return _fitted(tile, self.tokens, self.sections.size)

    def blocks(self, tile: Tile) -> int:
        return triton.cdiv(self.tokens, tile.tokens)

    def tiles(self, tile: Tile) -> int:
        """Tiles over all channels; each lies in one section."""
        return len(self.sections.group) * triton.cdiv(self.sections.size, tile.channels)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=self.u.device)

    def starts(self, tile: Tile, values: Tensor, weights: Tensor, first: Tensor | None, last: Tensor | None) -> Tensor:
        """State before each block; for the gradient of the states where there is no `last` state to write."""
        adjoint = last is None
        blocks = self.blocks(tile)
        ends, states = (self.empty(self.batch, blocks, self.states, self.channels) for _ in range(2))
        totals = self.empty(self.batch, blocks, self.channels)
        strides = (*values.stride(), *self.delta.stride(), *weights.stride(), *self.z.stride())
        kernels.block_ends[(self.tiles(tile), blocks, self.batch)](
            values,
            self.delta,
            self.A,
            weights,
            self.z,
            self.bias,
            ends,
            totals,
            *strides,
            self.channels,
            self.tokens,
            self.limit,
            blocks,
            *self.directions,
            **self.scalars,
            ADJOINT=adjoint,
            HAS_Z=adjoint and self.optional["HAS_Z"],
            CHANNELS=tile.channels,
            TOKENS=tile.tokens,
            num_warps=tile.warps,
            **LAUNCH_OPTIONS,
        )
        wide = _fitted(START_TILE, START_TILE.tokens, self.sections.size)
        kernels.block_starts[(self.tiles(wide), self.states, self.batch)](
            ends,
            totals,
            self.A,
            self.A if first is None else first,
            states,
            self.A if last is None else last,
            self.channels,
            blocks,
            *self.directions,
            N=self.states,
            ADJOINT=adjoint,
            HAS_FIRST=first is not None,
            HAS_LAST=last is not None,
            CHANNELS=wide.channels,
            BLOCKS=wide.tokens,
            num_warps=wide.warps,
            **LAUNCH_OPTIONS,
        )
        return states

    def scan(self, tile: Tile, states: Tensor, last: Tensor, out: Tensor, *, walk: bool) -> None:
        tensors = (self.u, self.delta, self.A, self.B, self.C, self.D, self.z, self.bias, states, last, out)
        strided = (self.u, self.delta, self.B, self.C, self.z, out)
        kernels.scan[(self.tiles(tile), 1 if walk else self.blocks(tile), self.batch)](
            *tensors,
            *(stride for tensor in strided for stride in tensor.stride()),
            self.channels,
            self.tokens,
            self.limit,
            self.blocks(tile),
            *self.directions,
            **self.scalars,
            **self.optional,
            WALK=walk,
            CHANNELS=tile.channels,
            TOKENS=tile.tokens,
            num_warps=tile.warps,
            **LAUNCH_OPTIONS,
        )

    def gradients(self, tile: Tile, g: Tensor, outputs: tuple[Tensor, ...], states: Tensor, carries: Tensor) -> None:
        tensors = (self.u, self.delta, self.A, self.B, self.C, self.D, self.z, self.bias, g, states, carries, *outputs)
        strided = (self.u, self.delta, self.B, self.C, self.z, g, outputs[0])
        kernels.gradients[(self.tiles(tile), self.blocks(tile), self.batch)](
            *tensors,
            *(stride for tensor in strided for stride in tensor.stride()),
            self.channels,
            self.tokens,
            self.limit,
            self.blocks(tile),
            *self.directions,
            **self.scalars,
            **self.optional,
            CHANNELS=tile.channels,
            TOKENS=tile.tokens,
            num_warps=tile.warps,
            **LAUNCH_OPTIONS,
        )


def forward(inputs: Inputs, softplus: bool, sections: Sections, *, save: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output `[B, D, L]`, last state `[B, D, N]` and, where `save`, the state before each block."""
    call = _Launch(inputs, softplus, sections)
    many = int(call.states > 1)
    out = new_like(inputs.u)
    last = call.empty(call.batch, call.channels, call.states)
    with on_device(inputs.u):
        if save or call.batch * call.channels < ROWS_TO_WALK[many]:
            tile = call.tile(BLOCK_TILE)
            states = call.starts(tile, call.u, call.B, None, last)
            call.scan(tile, states, last, out, walk=False)
            return out, last, states if save else None
        tile = call.tile(WALK_TILES[many])
        states = torch.zeros(
            (call.batch, call.blocks(tile) if many else 1, call.states, call.channels), device=inputs.u.device
        )
        call.scan(tile, states, last, out, walk=True)
    return out, last, None


def backward(
    inputs: Inputs, softplus: bool, sections: Sections, saved: Tensor, g: Tensor, g_last: Tensor | None
) -> Gradients:
    """Gradients for all inputs from those of the output and of the last state; the same from run to run."""
    call = _Launch(inputs, softplus, sections)
    tile = call.tile(GRADIENT_TILE)
    gu, g_delta, gz = (new_like(inputs.u, torch.float32) for _ in range(3))
    batch, blocks = call.batch, call.blocks(tile)
    g_rate = call.empty(batch, blocks, call.states, call.channels)
    g_row = call.empty(batch, blocks, 2, call.channels)
    gb, gc = (call.empty(batch, call.tiles(tile), call.states, call.limit) for _ in range(2))
    with on_device(inputs.u):
        first = None if g_last is None else g_last.float().contiguous()
        g = call.padded(g)
        carries = call.starts(tile, g, call.C, first, None)
        call.gradients(tile, g, (gu, g_delta, gz, g_rate, g_row, gb, gc), saved, carries)
    gD, gbias = g_row.sum((0, 1))
    gB, gC = (x[..., : call.tokens].unflatten(1, (call.groups, -1)).sum(2) for x in (gb, gc))
    return (
        gu,
        g_delta,
        g_rate.sum((0, 1)).T,
        gB,
        gC,
        None if inputs.D is None else gD,
        None if inputs.z is None else gz,
        None if inputs.delta_bias is None else gbias,
    )
