"""The tensors of a two-dimensional selective scan."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import UsageError

# For x, delta, A, B, C, D and delta_bias.
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]


class Inputs(NamedTuple):
    """What a call takes.

    Attributes:
        x: `[B, D, H, W]`.
        delta: `[B, 4, D, H, W]`, a step size for each direction.
        A: `[4 * D, N]`.
        B: `[B, 4, N, H, W]`.
        C: `[B, 4, N, H, W]`.
        D: `[4 * D]`.
        delta_bias: `[4 * D]`.
        softplus: Whether `softplus(delta + delta_bias)` is the step size.
    """

    x: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    softplus: bool

    def to(self, dtype: torch.dtype) -> Inputs:
        """The same in another type, each tensor in its own memory layout."""
        x, delta, A, B, C, D, bias, softplus = self
        x, delta, A, B, C = (tensor.to(dtype) for tensor in (x, delta, A, B, C))
        D, bias = (None if row is None else row.to(dtype) for row in (D, bias))
        return Inputs(x, delta, A, B, C, D, bias, softplus)

    def state_dtype(self) -> torch.dtype:
        """What states and sums are kept in."""
        given = (t.dtype for t in self if isinstance(t, Tensor))
        return torch.float64 if torch.float64 in given else torch.float32


def check_rates(A: Tensor) -> None:
    """Raises a `UsageError` where values of A are not finite; on a GPU looking at it would stall the queue."""
    if A.device.type == "cpu" and not A.isfinite().all():
        raise UsageError(f"A: expected finite values, got {int((~A.isfinite()).sum())} that are not")
