"""The causal convolution by the CUDA kernels of the package causal-conv1d (1.5 and newer), and whether they work here.

The kernels know one direction and two to four taps; a reversed call is flipped going in and coming out, as users do.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor

from ...errors import BackendError
from ..extension import agree, extension_refusal
from . import reference
from .reference import Gradients

PACKAGE = "causal_conv1d"
_MODULE = "causal_conv1d.cpp_functions"
_FOUND = importlib.util.find_spec(PACKAGE) is not None
_WIDTHS = range(2, 5)


@functools.cache
def _defect() -> str:
    """Why a small call does not give what the reference gives; empty if it does."""
    try:
        generator = torch.Generator().manual_seed(0)
        x, g = torch.randn(2, 1, 8, 5, generator=generator)
        weight, bias = torch.randn(8, 4, generator=generator), torch.randn(8, generator=generator)
        moved = [tensor.cuda() for tensor in (x, weight, bias)]
        grads = backward(moved[0], moved[1], moved[2], g.cuda(), True, False)
        got = forward(moved[0], moved[1], moved[2], True, False), *grads
        right = reference.forward(x, weight, bias, True, False), *reference.backward(x, weight, bias, g, True, False)
        if not agree(got, right):
            return "a trial call of it gives wrong results"
    except Exception as error:
        return f"a trial call of {PACKAGE} fails: {type(error).__name__}: {error}"
    return ""


def refusal(device: str) -> str:
    """Why the kernels cannot run on a device type; empty if a trial call of them, once, was right."""
    return extension_refusal(device, "the Python package causal-conv1d", installed=_FOUND, defect=_defect)


def _turned(x: Tensor, reverse: bool) -> Tensor:
    turned = x.flip(2) if reverse else x
    return turned if 1 in turned.stride()[1:] else turned.contiguous()


def _arguments(x: Tensor, weight: Tensor, bias: Tensor | None, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    if weight.shape[1] not in _WIDTHS:
        raise BackendError(
            f"causal_conv1d: backend {PACKAGE!r} takes {_WIDTHS[0]} to {_WIDTHS[-1]} taps, got {weight.shape[1]}"
        )
    shift = torch.zeros_like(weight[:, 0]) if bias is None else bias.to(weight.dtype)
    return _turned(x, reverse), weight.contiguous(), shift.contiguous()


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """`[B, D, L]` in the dtype of `x`."""
    module: Any = importlib.import_module(_MODULE)
    arguments = _arguments(x, weight, bias, reverse)
    y: Tensor = module.causal_conv1d_fwd_function(*arguments, None, None, None, silu)
    return y.flip(2) if reverse else y


def backward(x: Tensor, weight: Tensor, bias: Tensor | None, g: Tensor, silu: bool, reverse: bool) -> Gradients:
    """Gradients for x, weight and bias from that of the output."""
    module: Any = importlib.import_module(_MODULE)
    turned, taps, shift = _arguments(x, weight, bias, reverse)
    outer = _turned(g.to(x.dtype), reverse)
    gx, gweight, gbias, _ = module.causal_conv1d_bwd_function(
        turned, taps, shift, outer, None, None, None, None, False, silu
    )
    return gx.flip(2) if reverse else gx, gweight, None if bias is None else gbias
