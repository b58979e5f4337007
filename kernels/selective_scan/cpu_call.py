"""What the compiled loops of the selective scan take: the arrays of a call, how they are cut, where gradients go."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Call(NamedTuple):
    """The inputs of one call; an absent one is an array without elements.

    Attributes:
        u: `[B, D, L]`, or `[B, L, D]` where time comes first; `delta` and `z` too.
        delta: Before its bias and softplus.
        rates: A as `[N, D]`.
        b: `[B, G, L, N]`, without the last axis for one state; `c` too.
        c: See `b`.
        skip: D, `[D]`.
        z: Gate, before its SiLU.
        bias: Of delta, `[D]`.
        softplus: Whether delta goes through it.
        blocks: `[blocks, 4]`: first channel, channels, group, whether it is reversed.
        tokens: L.
        chunk: Tokens between two states that are kept, `[B, chunks, N, D]`.
    """

    u: Array
    delta: Array
    rates: Array
    b: Array
    c: Array
    skip: Array
    z: Array
    bias: Array
    softplus: bool
    blocks: Array
    tokens: int
    chunk: int


class Targets(NamedTuple):
    """Where the gradients go.

    Attributes:
        u: As the input; `delta` and `z` too.
        delta: See `u`.
        z: See `u`.
        rates: Float64 sums `[B, N, D]`.
        rows: Float64 sums for D and the bias, `[B, 2, D]`.
        b: `[B, blocks, L, N]`, without the last axis for one state; `c` too.
        c: See `b`.
    """

    u: Array
    delta: Array
    z: Array
    rates: Array
    rows: Array
    b: Array
    c: Array
