"""No time for a wrong answer: outputs held against a reference, before anything is timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .models import build_model, make_inputs, operators_of, plain_backend, tensors_of

# Of a whole network's outputs, which pile up the rounding of all its layers.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
TF32_TOLERANCE = 1e-2
# Neither square nor a power of two, so that rows and columns, and the ends of a scan, cannot be mistaken.
_CHECKED_SIDES = (96, 160)
_CLOSED, _OPEN = 0.1, 0.5


class Finding(NamedTuple):
    """What a comparison found.

    Attributes:
        against: What outputs were compared with; None where there is nothing, and only finiteness was looked at.
        rms: Relative root mean square error of the output that is furthest off.
        tolerance: How large it may be.
        wrong: One line that says what is wrong; empty if nothing is.
    """

    against: str | None
    rms: float | None
    tolerance: float | None
    wrong: str


def check_kernels(
    model: nn.Module, params: dict[str, Any], device: torch.device, dtype: torch.dtype, side: int
) -> Finding:
    """Hold a model against itself with reference kernels, attention written out, in fp32, on random input.

    Args:
        model: As it is timed.
        params: Parameters of its cells.
        device: Where it is.
        dtype: Its type.
        side: Image side to take where the model cannot serve 96x160 pixels.
    """
    if params.get("subject"):
        return Finding(None, None, None, "")
    open_branches(model)
    truth = build_model(params, reference=True)
    truth.load_state_dict(model.state_dict())
    truth = truth.to(device)
    tolerance = TF32_TOLERANCE if params.get("tf32") else TOLERANCES[dtype]
    try:
        got, expected = _both(model, truth, params, device, dtype, _CHECKED_SIDES)
    except UsageError:
        got, expected = _both(model, truth, params, device, dtype, (side, side))
    operators = operators_of(params)
    kernels = f"{plain_backend(operators)} kernels" if operators else "itself"
    return compare(got, expected, tolerance, against=f"{kernels} in fp32")


def _both(
    model: nn.Module,
    truth: nn.Module,
    params: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    sides: tuple[int, int],
) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(params["seed"])
    images = torch.randn(1, 3, *sides, generator=generator).to(device, dtype)
    with torch.inference_mode():
        inputs = make_inputs(model, images, prompts=params.get("prompts"), generator=generator)
        exact = tuple(x.float() if x.is_floating_point() else x for x in inputs)
        return list(tensors_of(model(*inputs))), list(tensors_of(truth(*exact)))


def check_launch(output: Sequence[Tensor], eager: Sequence[Tensor], dtype: torch.dtype, compile_mode: str) -> Finding:
    """Hold what a compiled or captured model returned against what it returns when it is simply called."""
    return compare(output, eager, TOLERANCES[dtype], against=f"the eager model (compile {compile_mode})")


def compare(got: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float, *, against: str) -> Finding:
    """Judge outputs by their relative root mean square error."""
    if [x.shape for x in got] != [x.shape for x in expected]:
        shapes = [[list(x.shape) for x in some] for some in (got, expected)]
        return Finding(against, None, tolerance, f"outputs have shapes {shapes[0]}; {against} gives {shapes[1]}")
    rms = max((_relative_rms(x, y) for x, y in zip(got, expected, strict=True)), default=0.0)
    if not math.isfinite(rms):
        return Finding(against, None, tolerance, not_finite())
    if rms <= tolerance:
        return Finding(against, rms, tolerance, "")
    wrong = f"the output differs from {against} by {rms:.2e} (RMS, relative); allowed is {tolerance:.0e}"
    return Finding(against, rms, tolerance, f"{wrong}; no time is given")


def not_finite() -> str:
    """What a row says of an output with infinities or NaNs."""
    return "the output holds values that are not finite; no time is given"


def _relative_rms(got: Tensor, expected: Tensor) -> float:
    if not bool(got.isfinite().all()):
        return math.inf
    truth = expected.to(got.device, torch.float64)
    return float((got.double() - truth).norm() / truth.norm().clamp_min(torch.finfo(torch.float32).tiny))


@torch.no_grad()
def open_branches(model: nn.Module) -> None:
    """Open the branches that a model starts with closed: an output that they have no part in would hide their errors.

    Matrices that are all zero get small random numbers, small constant scales of channels one of a good size. Both
    leave the time of a call as it is.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim >= 2 and not bool(parameter.any()):
            noise = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
            parameter.copy_(noise)
        elif parameter.ndim == 1 and 0 < abs(float(parameter[0])) < _CLOSED and bool((parameter == parameter[0]).all()):
            parameter.fill_(_OPEN)
