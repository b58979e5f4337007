"""Bi-WKV on GPUs: Triton, O(T), float32 sums on any storage, parallel over chunks of tokens and blocks of channels.

Three launches: summaries of all chunks, a scan over the summaries, the tokens of all chunks. No atomics: results are
the same in every run.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ..triton_tools import LAUNCH_OPTIONS
from .triton_carry import carry_summaries
from .triton_summaries import backward_summaries, forward_summaries
from .triton_tokens import backward_tokens, forward_tokens


class Tiling(NamedTuple):
    """Tokens a thread walks along, threads' shares of a chunk, channels of a program, and warps."""

    rows: int
    parts: int
    channels: int
    warps: int

    @property
    def chunk(self) -> int:
        return self.rows * self.parts


FORWARD = Tiling(16, 8, 64, 8)
BACKWARD = Tiling(8, 8, 64, 8)
_CARRY_CHUNKS, _CARRY_CHANNELS = 32, 16


def _fitted(tiling: Tiling, tokens: int) -> Tiling:
    """The tiling with no more parts than a short sequence has."""
    parts = min(tiling.parts, triton.next_power_of_2(triton.cdiv(tokens, tiling.rows)))
    return tiling._replace(parts=parts, warps=max(1, min(tiling.warps, tiling.warps * parts // tiling.parts)))


class _Launch:
    """Geometry of the launches over `[B, T, C]`."""

    def __init__(self, v: Tensor, tiling: Tiling, planes: int) -> None:
        self.batch, self.tokens, self.channels = v.shape
        self.tiling = _fitted(tiling, self.tokens)
        self.chunks = triton.cdiv(self.tokens, self.tiling.chunk)
        self.plane = self.batch * self.chunks * self.channels
        self.planes = planes
        self.states = torch.empty(2 * planes * self.plane, device=v.device)
        self.grid = (triton.cdiv(self.channels, self.tiling.channels), self.chunks, self.batch)
        self.scalars = {"tokens": self.tokens, "chunks": self.chunks, "plane": self.plane}
        self.constants = {
            "channels": self.channels,
            "ROWS": self.tiling.rows,
            "PARTS": self.tiling.parts,
            "BLOCK_C": self.tiling.channels,
            "num_warps": self.tiling.warps,
            **LAUNCH_OPTIONS,
        }

    def carry(self, decay: Tensor) -> Tensor:
        """The sums before and behind every chunk, from the summaries."""
        carries = torch.empty_like(self.states)
        carry_summaries[(triton.cdiv(self.channels, _CARRY_CHANNELS), 2, self.batch)](
            self.states,
            carries,
            decay,
            self.chunks,
            self.plane,
            length=self.tiling.chunk,
            channels=self.channels,
            MOMENTS=self.planes == 5,
            BLOCK=_CARRY_CHUNKS,
            BLOCK_C=_CARRY_CHANNELS,
            num_warps=4,
            **LAUNCH_OPTIONS,
        )
        return carries


def _strides(**tensors: Tensor) -> dict[str, int]:
    """The kernels' arguments `x_b`, `x_t` and `x_c` of each `[B, T, C]`."""
    return {f"{name}_{axis}": step for name, x in tensors.items() for axis, step in zip("btc", x.stride(), strict=True)}


def forward(
    decay: Tensor, bonus: Tensor, k: Tensor, v: Tensor, gate: Tensor | None, *, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output in the dtype of `v`; where `save`, the output before the gate (if gated) and the log-denominators.

    `decay` and `bonus` are contiguous float32, the others of any storage and strides. What is not there is empty.
    """
    run = _Launch(v, FORWARD, 3)
    forward_summaries[run.grid](k, v, decay, run.states, **run.scalars, **_strides(k=k, v=v), **run.constants)
    carries = run.carry(decay)
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    logsum = torch.empty(v.shape if save else 0, device=v.device)
    y = torch.empty(v.shape if save and gate is not None else 0, dtype=v.dtype, device=v.device)
    given = v if gate is None else gate
    forward_tokens[run.grid](
        k,
        v,
        given,
        decay,
        bonus,
        carries,
        out,
        y,
        logsum,
        GATED=gate is not None,
        SAVE=save,
        **run.scalars,
        **_strides(k=k, v=v, gate=given),
        **run.constants,
    )
    return out, y, logsum


def backward(
    decay: Tensor,
    bonus: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor | None,
    y: Tensor,
    logsum: Tensor,
    g: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients for decay and bonus, float32, for k, v and the gate (empty without one), in their dtypes.

    `y` is the output before the gate; `y`, `logsum` and `g` are contiguous.
    """
    run = _Launch(v, BACKWARD, 5)
    given = v if gate is None else gate
    gates = _strides(gate=given)
    backward_summaries[run.grid](
        g, y, logsum, given, decay, run.states, GATED=gate is not None, **run.scalars, **gates, **run.constants
    )
    carries = run.carry(decay)
    gk, gv = (torch.empty(v.shape, dtype=x.dtype, device=v.device) for x in (k, v))
    ggate = torch.empty(v.shape if gate is not None else 0, dtype=given.dtype, device=v.device)
    partials = torch.empty(2, run.batch * run.chunks, run.channels, device=v.device)
    backward_tokens[run.grid](
        k,
        v,
        given,
        g,
        y,
        logsum,
        decay,
        bonus,
        carries,
        gk,
        gv,
        ggate,
        partials,
        GATED=gate is not None,
        **run.scalars,
        **_strides(k=k, v=v),
        **gates,
        **run.constants,
    )
    gdecay, gbonus = partials.sum(1)
    return gdecay, gbonus, gk, gv, ggate
