"""Arguments of the selective scan, and how its channels divide into sections of one group and one direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """The tensors of one call, in the order of the public function; an optional one may be absent."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None

    def to(self, dtype: torch.dtype) -> Inputs:
        """All of them in `dtype`."""
        return Inputs(*(None if tensor is None else tensor.to(dtype) for tensor in self))  # type: ignore[arg-type]

    def state_dtype(self) -> torch.dtype:
        """What the scan computes in: float64 if any input is, else float32."""
        doubles = any(tensor is not None and tensor.dtype == torch.float64 for tensor in self)
        return torch.float64 if doubles else torch.float32


@dataclass(frozen=True)
class Sections:
    """Consecutive channels that read the same B and C in the same direction.

    Attributes:
        size: Channels of each section.
        group: Which of the groups of B and C each section reads.
        reverse: Whether each section runs from the last token to the first.
    """

    size: int
    group: tuple[int, ...]
    reverse: tuple[bool, ...]

    def split(self, x: Tensor) -> Tensor:
        """`[B, D, ...]` as `[B, X, S, ...]`."""
        return x.unflatten(1, (len(self.group), self.size))

    def spread(self, x: Tensor) -> Tensor:
        """`[B, G, ...]` as `[B, X, ...]`: what each section reads."""
        return x[:, list(self.group)]

    def gather(self, x: Tensor, groups: int) -> Tensor:
        """`[B, X, ...]` as `[B, G, ...]`: the sums over the sections of each group; adjoint of `spread`."""
        return x.unflatten(1, (groups, -1)).sum(2)

    def turn(self, x: Tensor) -> Tensor:
        """`[B, X, ..., L]` with the time of the reversed sections flipped; its own inverse."""
        if not any(self.reverse):
            return x
        if all(self.reverse):
            return x.flip(-1)
        backwards = torch.tensor(self.reverse, device=x.device).view(-1, *[1] * (x.ndim - 2))
        return torch.where(backwards, x.flip(-1), x)


def cut(channels: int, groups: int, reverse: Sequence[bool]) -> Sections:
    """Sections of `channels`, of which each of `groups` and each entry of `reverse` has an equal share."""
    size = math.gcd(channels // groups, channels // len(reverse))
    starts = range(0, channels, size)
    return Sections(
        size,
        tuple(start * groups // channels for start in starts),
        tuple(reverse[start * len(reverse) // channels] for start in starts),
    )
