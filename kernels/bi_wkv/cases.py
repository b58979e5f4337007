"""Benchmark cases of Bi-WKV."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import bi_wkv

# Operations of Bi-WKV per token and channel, the rule Vision-RWKV counts by; its backward is counted twice.
_FLOPS = 29
_FLOAT32 = 4


def _inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    """Decays spread as at the start of training, whose sign changes; keys and values from a normal distribution."""
    tokens, channels = shape["T"], shape["C"]
    k, v = torch.randn(2, shape["B"], tokens, channels, generator=generator)
    decay = torch.linspace(-5, 3, channels) / tokens
    return {"decay": decay, "bonus": torch.randn(channels, generator=generator) / tokens, "k": k, "v": v}


def _gated_inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    inputs = _inputs(shape, generator)
    return inputs | {"gate": torch.randn(inputs["v"].shape, generator=generator)}


def _steep_inputs(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    """Decays of a hundred times the usual size."""
    inputs = _inputs(shape, generator)
    return inputs | {"decay": 100 * inputs["decay"]}


def _call(inputs: Mapping[str, Tensor], backend: str) -> Tensor:
    decay, bonus, k, v = (inputs[name] for name in ("decay", "bonus", "k", "v"))
    return bi_wkv(decay, bonus, k, v, gate=inputs.get("gate"), backend=backend)


def _forward(shape: Shape, size: int) -> Work:
    """Reads k and v, writes the output; one exponential, of the key."""
    elements = shape["B"] * shape["T"] * shape["C"]
    return Work(_FLOPS * elements, 3 * elements * size + 2 * shape["C"] * _FLOAT32, elements)


def _backward(shape: Shape, size: int) -> Work:
    """Reads k, v, the output, its gradient and the float32 log-denominators, writes two gradients."""
    elements = shape["B"] * shape["T"] * shape["C"]
    traffic = elements * (6 * size + _FLOAT32) + 4 * shape["C"] * _FLOAT32
    return Work(2 * _FLOPS * elements, traffic, 2 * elements)


def _gated_forward(shape: Shape, size: int) -> Work:
    """Reads the gate as well: a sigmoid and a product more."""
    work, elements = _forward(shape, size), shape["B"] * shape["T"] * shape["C"]
    return Work(work.flops + 3 * elements, work.bytes + elements * size, work.exps + elements)


def _gated_backward(shape: Shape, size: int) -> Work:
    """Reads the gate and writes its gradient as well."""
    work, elements = _backward(shape, size), shape["B"] * shape["T"] * shape["C"]
    return Work(work.flops + 7 * elements, work.bytes + 2 * elements * size, work.exps + elements)


def _case(name: str, batch: int, tokens: int, channels: int) -> OperatorCase:
    # The reference takes O(T^2) time.
    check = {"B": 1, "T": 256, "C": 64} if tokens > 256 else {}
    return OperatorCase(
        "bi_wkv",
        name,
        {"B": batch, "T": tokens, "C": channels},
        _steep_inputs if "steep" in name else _gated_inputs if "gate" in name else _inputs,
        _call,
        _gated_forward if "gate" in name else _forward,
        _gated_backward if "gate" in name else _backward,
        float32=("decay", "bonus"),
        check=check,
    )


CASES = (
    _case("rwkvsam-s 512", 1, 1024, 384),
    _case("rwkvsam-s 1024", 1, 4096, 384),
    _case("rwkvsam-s 2048", 1, 16384, 384),
    _case("rwkvsam-s 2048 x8", 8, 16384, 384),
    _case("rwkvsam-s 1024 gate", 1, 4096, 384),
    _case("vrwkv-s 224", 1, 196, 384),
    _case("vrwkv-b 1024", 1, 4096, 768),
    _case("edge 1 token", 2, 1, 7),
    _case("edge odd", 2, 197, 50),
    _case("edge steep", 1, 130, 33),
)
