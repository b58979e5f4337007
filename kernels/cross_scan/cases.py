"""Benchmark cases of cross-scan and cross-merge: VMamba-S at 1024 pixels, and awkward shapes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import cross_merge, cross_scan


def _map(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn([shape[letter] for letter in "BCHW"], generator=generator)}


def _sequences(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    batch, channels, height, width = (shape[letter] for letter in "BCHW")
    return {"y": torch.randn(batch, 4, channels, height, width, generator=generator)}


def _scan(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    return cross_scan(tensors["x"], backend=backend)


def _merge(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    return cross_merge(tensors["y"], backend=backend)


def _scan_work(shape: Shape, element: int) -> Work:
    return Work(flops=0, bytes=element * 5 * shape["B"] * shape["C"] * shape["H"] * shape["W"])


def _merge_work(shape: Shape, element: int) -> Work:
    values = shape["B"] * shape["C"] * shape["H"] * shape["W"]
    return Work(flops=3 * values, bytes=element * 5 * values)


def _cases(name: str, shape: Shape) -> tuple[OperatorCase, ...]:
    return (
        OperatorCase("cross_scan", name, shape, _map, _scan, _scan_work, _merge_work),
        OperatorCase("cross_merge", name, shape, _sequences, _merge, _merge_work, _scan_work),
    )


CASES = (
    *_cases("vmamba-s 1024 stage 1", {"B": 1, "C": 192, "H": 256, "W": 256}),
    *_cases("vmamba-s 1024 stage 2", {"B": 1, "C": 384, "H": 128, "W": 128}),
    *_cases("vmamba-s 1024 stage 3", {"B": 1, "C": 768, "H": 64, "W": 64}),
    *_cases("vmamba-s 1024 stage 4", {"B": 1, "C": 1536, "H": 32, "W": 32}),
    *_cases("odd", {"B": 2, "C": 5, "H": 57, "W": 58}),
)
