"""Benchmark cases of the causal convolution: Vim's at 1024 and 224 pixels, and small and awkward shapes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import causal_conv1d


def _inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    batch, channels, tokens, width = (shape[letter] for letter in "BDLW")
    return {
        "x": torch.randn(batch, channels, tokens, generator=generator),
        "weight": torch.randn(channels, width, generator=generator) / width,
        "bias": torch.randn(channels, generator=generator),
    }


def _call(tensors: Mapping[str, Tensor], backend: str, *, reverse: bool) -> Tensor:
    return causal_conv1d(**tensors, activation="silu", reverse=reverse, backend=backend)


def _forward(shape: Shape, element: int) -> Work:
    batch, channels, tokens, width = (shape[letter] for letter in "BDLW")
    sequence = batch * channels * tokens
    return Work(
        flops=sequence * (2 * width + 2), bytes=element * (2 * sequence + channels * (width + 1)), exps=sequence
    )


def _backward(shape: Shape, element: int) -> Work:
    batch, channels, tokens, width = (shape[letter] for letter in "BDLW")
    sequence = batch * channels * tokens
    # The sum before the SiLU again, its slope, and a multiply-add per tap for x and for the weight.
    return Work(
        flops=sequence * (6 * width + 6), bytes=element * (3 * sequence + 2 * channels * (width + 1)), exps=sequence
    )


def _case(name: str, shape: Shape, *, reverse: bool = False) -> OperatorCase:
    return OperatorCase(
        operator="causal_conv1d",
        name=name,
        shape=shape,
        inputs=_inputs,
        call=partial(_call, reverse=reverse),
        forward=_forward,
        backward=_backward,
    )


CASES = (
    _case("vim-t 1024", {"B": 1, "D": 384, "L": 4097, "W": 4}),
    _case("vim-s 1024", {"B": 1, "D": 768, "L": 4097, "W": 4}),
    _case("vim-s 1024 reversed", {"B": 1, "D": 768, "L": 4097, "W": 4}, reverse=True),
    _case("vim-s 224", {"B": 8, "D": 768, "L": 197, "W": 4}),
    _case("small", {"B": 2, "D": 33, "L": 65, "W": 3}),
    _case("edge", {"B": 1, "D": 1, "L": 2, "W": 4}, reverse=True),
)
