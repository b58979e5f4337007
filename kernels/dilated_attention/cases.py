"""Benchmark cases of dilated attention: an encoder of SAM-Lightening's kind at 1024 pixels.

Its segment length and dilation are not published; those here are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from ..window_attention.cases import attention_inputs, attention_work
from . import dilated_attention

Branches = tuple[tuple[int, int], ...]


def _call(tensors: Mapping[str, Tensor], backend: str, *, branches: Branches) -> Tensor:
    q, k, v = (tensors[name] for name in "qkv")
    return dilated_attention(q, k, v, branches=branches, backend=backend)


def _pairs(tokens: int, heads: int, branches: Branches) -> int:
    """Pairs of a query and a key, over all heads and branches."""
    pairs = 0
    for segment, dilation in branches:
        for head in range(heads):
            lengths = [segment] * (tokens // segment) + [tokens % segment]
            pairs += sum(len(range(head % dilation, length, dilation)) ** 2 for length in lengths)
    return pairs


def _work(shape: Shape, element: int, *, branches: Branches, backward: bool) -> Work:
    alone = {**shape, "h": 1}
    pairs = _pairs(shape["N"], shape["h"], branches)
    return attention_work(alone, element, pairs=pairs, tokens=shape["N"] * shape["h"], backward=backward)


def _case(name: str, shape: Shape, branches: Branches) -> OperatorCase:
    return OperatorCase(
        operator="dilated_attention",
        name=name,
        shape=shape,
        inputs=attention_inputs,
        call=partial(_call, branches=branches),
        forward=partial(_work, branches=branches, backward=False),
        backward=partial(_work, branches=branches, backward=True),
    )


CASES = (
    _case("sam-lightening-style 1024", {"B": 1, "h": 12, "N": 4096, "E": 64}, ((1024, 2),)),
    _case("longnet-style 4096", {"B": 1, "h": 12, "N": 4096, "E": 64}, ((512, 1), (1024, 2), (4096, 4))),
    _case("odd", {"B": 2, "h": 3, "N": 197, "E": 16}, ((50, 3), (197, 4))),
)
