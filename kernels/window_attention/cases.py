"""Benchmark cases of local attention: SAM's ViT-B windows and BASED's sliding window at 1024 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import sliding_window_attention, window_attention

# SAM's windows; what BASED calls a window of 256.
_WINDOW = 14
_BEFORE = 128


def attention_inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    """q, k `[B, heads, N, E]` and v `[B, heads, N, F]` for the letters B, h, N (or H and W), E and F (or E)."""
    tokens = shape["N"] if "N" in shape else shape["H"] * shape["W"]
    leading = (shape["B"], shape["h"], tokens)
    widths = {"q": shape["E"], "k": shape["E"], "v": shape.get("F", shape["E"])}
    return {name: torch.randn(*leading, width, generator=generator) for name, width in widths.items()}


def attention_work(shape: Shape, element: int, *, pairs: int, tokens: int, backward: bool) -> Work:
    """Of softmax attention over so many pairs of a query and a key in each head of each image."""
    count, width, value_width = shape["B"] * shape["h"], shape["E"], shape.get("F", shape["E"])
    # Scores and outputs; backward the scores again, and the gradients of q and k, of v and of the weights.
    products = 3 * width + 2 * value_width if backward else width + value_width
    maps = 2 * (2 * width + value_width) + value_width if backward else 2 * (width + value_width)
    return Work(flops=2 * count * pairs * products, bytes=element * count * tokens * maps, exps=count * pairs)


def _window_inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    # Tensors are all that a call gets, so the grid travels as the shape of an empty one.
    grid = torch.empty(0, shape["H"], shape["W"], dtype=torch.int64)
    return {**attention_inputs(shape, generator), "grid": grid}


def _window(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    _, height, width = tensors["grid"].shape
    q, k, v = (tensors[name] for name in "qkv")
    return window_attention(q, k, v, (height, width), window=(_WINDOW, _WINDOW), backend=backend)


def _window_work(shape: Shape, element: int, *, backward: bool) -> Work:
    pairs = 1
    for side in (shape["H"], shape["W"]):
        pairs *= side // _WINDOW * _WINDOW**2 + (side % _WINDOW) ** 2
    return attention_work(shape, element, pairs=pairs, tokens=shape["H"] * shape["W"], backward=backward)


def _sliding(tensors: Mapping[str, Tensor], backend: str) -> Tensor:
    q, k, v = (tensors[name] for name in "qkv")
    return sliding_window_attention(q, k, v, before=_BEFORE, backend=backend)


def _sliding_work(shape: Shape, element: int, *, backward: bool) -> Work:
    pairs = sum(min(token, _BEFORE) + 1 for token in range(shape["N"]))
    return attention_work(shape, element, pairs=pairs, tokens=shape["N"], backward=backward)


def _window_case(name: str, shape: Shape) -> OperatorCase:
    forward, backward = (partial(_window_work, backward=which) for which in (False, True))
    return OperatorCase("window_attention", name, shape, _window_inputs, _window, forward, backward)


def _sliding_case(name: str, shape: Shape) -> OperatorCase:
    forward, backward = (partial(_sliding_work, backward=which) for which in (False, True))
    return OperatorCase("sliding_window_attention", name, shape, attention_inputs, _sliding, forward, backward)


CASES = (
    _window_case("sam-vit-b 1024", {"B": 1, "h": 12, "H": 64, "W": 64, "E": 64}),
    _window_case("odd", {"B": 2, "h": 3, "H": 15, "W": 29, "E": 16}),
    _sliding_case("based 4096", {"B": 1, "h": 6, "N": 4096, "E": 64}),
    _sliding_case("odd", {"B": 2, "h": 3, "N": 197, "E": 16}),
)
