"""Benchmark cases of Taylor linear attention: BASED's heads on the tokens of a 1024-pixel image."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from ..window_attention.cases import attention_inputs
from . import taylor_linear_attention


def _call(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    q, k, v = (tensors[name] for name in "qkv")
    return taylor_linear_attention(q, k, v, backend=backend)


def _features(shape: Shape) -> int:
    width = shape["E"]
    return 1 + width + width * (width + 1) // 2


def _forward(shape: Shape, element: int) -> Work:
    tokens = shape["B"] * shape["h"] * shape["N"]
    # Features of q and k, and their products with the values and with the sums; the denominator is one more value.
    flops = 2 * tokens * _features(shape) * (1 + 2 * (shape["F"] + 1)) + tokens * shape["F"]
    return Work(flops=flops, bytes=element * tokens * 2 * (shape["E"] + shape["F"]))


def _backward(shape: Shape, element: int) -> Work:
    tokens = shape["B"] * shape["h"] * shape["N"]
    flops = 2 * tokens * _features(shape) * (3 + 5 * (shape["F"] + 1)) + 4 * tokens * shape["F"]
    return Work(flops=flops, bytes=element * tokens * (4 * shape["E"] + 3 * shape["F"]))


CASES = tuple(
    OperatorCase("taylor_linear_attention", name, shape, attention_inputs, _call, _forward, _backward)
    for name, shape in (
        ("based-s 1024", {"B": 1, "h": 6, "N": 4096, "E": 16, "F": 64}),
        ("odd", {"B": 2, "h": 3, "N": 197, "E": 5, "F": 7}),
    )
)
