"""What is right: errors against float64 results, and how large they may be in each storage type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """Largest errors of a right result: root mean square over that of the truth, and largest over largest."""

    rms: float
    largest: float


TOLERANCES = {
    torch.float32: Tolerance(1e-4, 1e-3),
    torch.float16: Tolerance(4e-3, 2e-2),
    torch.bfloat16: Tolerance(2e-2, 8e-2),
}


class Errors(NamedTuple):
    """How far results are from the truth, in the tensor that is furthest off; infinite where a value is not finite.

    Attributes:
        rms: Root mean square of the error over that of the truth.
        largest: Largest error over the largest truth.
        where: Name of the tensor whose `rms` is largest.
    """

    rms: float
    largest: float
    where: str


def errors(got: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Errors:
    """Compare tensors of equal names and shapes.

    Raises:
        ValueError: Names or shapes differ.
    """
    if got.keys() != truth.keys():
        raise ValueError(f"the results are {', '.join(got)}; the truth has {', '.join(truth)}")
    found = [(*_error(name, got[name], truth[name]), name) for name in truth]
    rms, _, where = max(found)
    return Errors(rms, max(largest for _, largest, _ in found), where)


def _error(name: str, got: Tensor, truth: Tensor) -> tuple[float, float]:
    if got.shape != truth.shape:
        raise ValueError(f"{name} has the shape {list(got.shape)}; the truth has {list(truth.shape)}")
    if not bool(got.isfinite().all()):
        return math.inf, math.inf
    if not truth.numel():
        return 0.0, 0.0
    exact = truth.to(got.device, torch.float64)
    off = got.double() - exact
    tiny = torch.finfo(torch.float32).tiny
    rms = off.norm() / exact.norm().clamp_min(tiny)
    return float(rms), float(off.abs().max() / exact.abs().max().clamp_min(tiny))


def verdict(found: Errors, dtype: torch.dtype, *, against: str, factor: float = 1.0) -> str:
    """Why results with such errors are wrong, in one line; empty if they are right.

    Args:
        found: From `errors`.
        dtype: Storage type of the results.
        against: What they were compared with, in words.
        factor: How many times the tolerance is allowed.
    """
    rms, largest = (factor * limit for limit in TOLERANCES[dtype])
    if not math.isfinite(found.rms):
        return f"{found.where} holds values that are not finite; no time is given"
    if found.rms <= rms and found.largest <= largest:
        return ""
    return (
        f"{found.where} differs from {against} by {found.rms:.2e} (RMS, relative) and at most {found.largest:.2e}; "
        f"allowed are {rms:.0e} and {largest:.0e}; no time is given"
    )
