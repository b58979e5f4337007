"""Benchmark cases of atrous scan and merge: EfficientVMamba's first two stages at 1024 pixels, and awkward shapes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import atrous_merge, atrous_scan
from .layout import sub_grid_size


def _map(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    return {"x": torch.randn([shape[letter] for letter in "BCHW"], generator=generator)}


def _sequences(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    rows, columns = sub_grid_size(shape["H"], shape["W"], 2)
    # Tensors are all that a call gets, so the grid travels as the shape of an empty one.
    return {
        "y": torch.randn(shape["B"], 4, shape["C"], rows * columns, generator=generator),
        "grid": torch.empty(0, shape["H"], shape["W"], dtype=torch.int64),
    }


def _scan(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    return atrous_scan(tensors["x"], backend=backend)


def _merge(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    _, height, width = tensors["grid"].shape
    return atrous_merge(tensors["y"], (height, width), backend=backend)


def _work(shape: Shape, element: int, *, merge: bool) -> Work:
    rows, columns = sub_grid_size(shape["H"], shape["W"], 2)
    planes = shape["B"] * shape["C"]
    pixels, slots = planes * shape["H"] * shape["W"], planes * 4 * rows * columns
    # A merge has no use for the padding, and its gradient writes it.
    return Work(flops=0, bytes=element * (2 * pixels if merge else pixels + slots))


def _cases(name: str, shape: Shape) -> tuple[OperatorCase, ...]:
    scan, merge = partial(_work, merge=False), partial(_work, merge=True)
    return (
        OperatorCase("atrous_scan", name, shape, _map, _scan, scan, merge),
        OperatorCase("atrous_merge", name, shape, _sequences, _merge, merge, scan),
    )


CASES = (
    *_cases("efficientvmamba-s 1024 stage 1", {"B": 1, "C": 128, "H": 256, "W": 256}),
    *_cases("efficientvmamba-s 1024 stage 2", {"B": 1, "C": 256, "H": 128, "W": 128}),
    *_cases("odd", {"B": 2, "C": 5, "H": 57, "W": 59}),
)
