"""Benchmark cases of the two-dimensional selective scan: VMamba-S at 1024 pixels, and awkward shapes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import selective_scan_2d

# Per pixel, direction, channel and state, as VMamba counts; and for D.
_PER_STATE = 9
_PER_STEP = 2
_NAMES = ("x", "delta", "A", "B", "C", "D", "delta_bias")
_FLOAT32 = ("A", "D", "delta_bias")


def _inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    batch, channels, height, width, states = (shape[letter] for letter in "BDHWN")

    def image(*middle: int) -> Tensor:
        # What linear layers on [B, H, W, C] give, read in place on the CPU.
        values = torch.randn(batch, height, width, *middle, generator=generator)
        return values.movedim((1, 2), (-2, -1))

    return {
        "x": image(channels),
        "delta": 0.5 * image(4, channels),
        # Mamba starts from rates 1 ... N and steps between 0.001 and 0.1.
        "A": -torch.arange(1.0, states + 1).repeat(4 * channels, 1),
        "B": image(4, states),
        "C": image(4, states),
        "D": torch.randn(4 * channels, generator=generator),
        "delta_bias": -4.6 + torch.randn(4 * channels, generator=generator),
    }


def _call(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    x, delta, A, B, C, D, bias = (tensors[name] for name in _NAMES)
    return selective_scan_2d(x, delta, A, B, C, D, bias, delta_softplus=True, backend=backend)


def _sizes(shape: Shape) -> tuple[int, int, int]:
    """Values of a map, values of B, and parameters."""
    pixels = shape["B"] * shape["H"] * shape["W"]
    return pixels * shape["D"], pixels * 4 * shape["N"], 4 * shape["D"] * (shape["N"] + 2)


def _forward(shape: Shape, element: int) -> Work:
    values, shared, parameters = _sizes(shape)
    return Work(
        flops=4 * values * (_PER_STATE * shape["N"] + _PER_STEP),
        bytes=element * (6 * values + 2 * shared) + 4 * parameters,
        exps=4 * values * (shape["N"] + 2),
    )


def _backward(shape: Shape, element: int) -> Work:
    values, shared, parameters = _sizes(shape)
    # The states are made again, go back, and give a product each to the gradients of x, delta, A, B and C.
    per_state = _PER_STATE + 4 + 2 * 5
    return Work(
        flops=4 * values * (per_state * shape["N"] + 4),
        bytes=element * (11 * values + 4 * shared) + 8 * parameters,
        exps=4 * values * (shape["N"] + 2),
    )


def _case(name: str, shape: Shape) -> OperatorCase:
    large = shape["D"] * shape["H"] * shape["W"] > 1 << 16
    check = {"D": min(shape["D"], 32), "H": min(shape["H"], 19), "W": min(shape["W"], 37)} if large else {}
    return OperatorCase(
        "selective_scan_2d", name, shape, _inputs, _call, _forward, _backward, float32=_FLOAT32, check=check
    )


CASES = (
    _case("vmamba-s 1024 stage 1", {"B": 1, "D": 192, "H": 256, "W": 256, "N": 1}),
    _case("vmamba-s 1024 stage 2", {"B": 1, "D": 384, "H": 128, "W": 128, "N": 1}),
    _case("vmamba-s 1024 stage 3", {"B": 1, "D": 768, "H": 64, "W": 64, "N": 1}),
    _case("vmamba-s 1024 stage 4", {"B": 1, "D": 1536, "H": 32, "W": 32, "N": 1}),
    _case("vmamba-s-v0 1024 stage 3", {"B": 1, "D": 768, "H": 64, "W": 64, "N": 16}),
    _case("odd", {"B": 2, "D": 5, "H": 17, "W": 9, "N": 2}),
)
