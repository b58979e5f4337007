"""Benchmark cases of q-shift and its mix."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import q_shift, q_shift_mix

_FLOAT32 = 4


def _image(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn(*(shape[letter] for letter in "BHWC"), generator=generator)}


def _inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    return _image(shape, generator) | {"mix": torch.rand(shape["M"], shape["C"], generator=generator)}


def _shift(inputs: Mapping[str, Tensor], backend: str) -> Tensor:
    x = inputs["x"]
    return q_shift(x.flatten(1, 2), (x.shape[1], x.shape[2]), backend=backend)


def _mix(inputs: Mapping[str, Tensor], backend: str) -> tuple[Tensor, ...]:
    x = inputs["x"]
    return q_shift_mix(x.flatten(1, 2), inputs["mix"], (x.shape[1], x.shape[2]), backend=backend)


def _elements(shape: Shape) -> int:
    return shape["B"] * shape["H"] * shape["W"] * shape["C"]


def _copy(shape: Shape, size: int) -> Work:
    """Reads once, writes once, in either direction."""
    return Work(0, 2 * _elements(shape) * size)


def _mix_forward(shape: Shape, size: int) -> Work:
    """One read and M writes; a difference, and a multiply-add for each output."""
    elements, outputs = _elements(shape), shape["M"]
    traffic = (1 + outputs) * elements * size + outputs * shape["C"] * _FLOAT32
    return Work((1 + 2 * outputs) * elements, traffic)


def _mix_backward(shape: Shape, size: int) -> Work:
    """Reads the tokens and M gradients, writes one; a difference, and three multiply-adds for each output."""
    elements, outputs = _elements(shape), shape["M"]
    traffic = (2 + outputs) * elements * size + 2 * outputs * shape["C"] * _FLOAT32
    return Work((1 + 6 * outputs) * elements, traffic)


def _mix_case(name: str, batch: int, height: int, width: int, channels: int, outputs: int) -> OperatorCase:
    shape = {"B": batch, "H": height, "W": width, "C": channels, "M": outputs}
    return OperatorCase("q_shift_mix", name, shape, _inputs, _mix, _mix_forward, _mix_backward, float32=("mix",))


def _shift_case(name: str, batch: int, height: int, width: int, channels: int) -> OperatorCase:
    shape = {"B": batch, "H": height, "W": width, "C": channels}
    return OperatorCase("q_shift", name, shape, _image, _shift, _copy, _copy)


CASES = (
    _mix_case("rwkvsam-s 512", 1, 32, 32, 384, 3),
    _mix_case("rwkvsam-s 1024", 1, 64, 64, 384, 3),
    _mix_case("rwkvsam-s 1024 two", 1, 64, 64, 384, 2),
    _mix_case("rwkvsam-s 2048", 1, 128, 128, 384, 3),
    _mix_case("rwkvsam-s 2048 x8", 8, 128, 128, 384, 3),
    _mix_case("vrwkv-s 224", 1, 14, 14, 384, 3),
    _mix_case("edge odd", 2, 1, 13, 21, 2),
    _shift_case("rwkvsam-s 1024", 1, 64, 64, 384),
    _shift_case("edge odd", 2, 7, 1, 13),
)
