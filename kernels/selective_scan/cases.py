"""Benchmark cases of the selective scan: Vim and VMamba at 1024 pixels, and small and awkward shapes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from ..cases import OperatorCase, Shape, Work
from . import selective_scan

# Per token, channel and state: exponent, step times input times B, recurrence, readout; as Vim and VMamba count.
_PER_STATE = 9
_FLOAT32 = ("A", "D", "delta_bias")


def _inputs(shape: Shape, generator: torch.Generator, *, gate: bool) -> dict[str, Tensor]:
    batch, channels, tokens, states, groups = (shape[letter] for letter in "BDLNG")

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator)

    tensors = {
        "u": normal(batch, channels, tokens),
        "delta": 0.5 * normal(batch, channels, tokens),
        # Mamba starts from rates 1 ... N and steps between 0.001 and 0.1.
        "A": -torch.arange(1.0, states + 1).repeat(channels, 1),
        "B": normal(batch, groups, states, tokens),
        "C": normal(batch, groups, states, tokens),
        "D": normal(channels),
        "delta_bias": -4.6 + normal(channels),
    }
    return {**tensors, "z": normal(batch, channels, tokens)} if gate else tensors


def _call(tensors: Mapping[str, Tensor], backend: str, *, reverse: bool | tuple[bool, ...]) -> Tensor:
    u, delta, A, B, C, D, bias = (tensors[name] for name in ("u", "delta", "A", "B", "C", "D", "delta_bias"))
    options = (D, tensors.get("z"), bias)
    return selective_scan(u, delta, A, B, C, *options, delta_softplus=True, reverse=reverse, backend=backend)


def _forward(shape: Shape, element: int, *, gate: bool) -> Work:
    batch, channels, tokens, states, groups = (shape[letter] for letter in "BDLNG")
    sequence, shared = batch * channels * tokens, batch * groups * states * tokens
    per_token = 2 + 2 * gate
    return Work(
        flops=sequence * (_PER_STATE * states + per_token),
        bytes=element * ((3 + gate) * sequence + 2 * shared) + 4 * channels * (states + 2),
        exps=sequence * (states + 2 + gate),
    )


def _backward(shape: Shape, element: int, *, gate: bool) -> Work:
    batch, channels, tokens, states, groups = (shape[letter] for letter in "BDLNG")
    sequence, shared = batch * channels * tokens, batch * groups * states * tokens
    # The states are made again, go back, and give a product each to the gradients of u, delta, A, B and C.
    per_state = _PER_STATE + 4 + 2 * 5
    return Work(
        flops=sequence * (per_state * states + 4 + 6 * gate),
        bytes=element * ((5 + 2 * gate) * sequence + 4 * shared) + 8 * channels * (states + 2),
        exps=sequence * (states + 2 + gate),
    )


def _case(name: str, shape: Shape, *, reverse: bool | tuple[bool, ...] = False, gate: bool = False) -> OperatorCase:
    long = shape["D"] * shape["L"] * shape["N"] > 1 << 20
    return OperatorCase(
        operator="selective_scan",
        name=name,
        shape=shape,
        inputs=partial(_inputs, gate=gate),
        call=partial(_call, reverse=reverse),
        forward=partial(_forward, gate=gate),
        backward=partial(_backward, gate=gate),
        float32=_FLOAT32,
        check={"D": min(shape["D"], 64), "L": min(shape["L"], 1025)} if long else {},
    )


# VMamba scans four directions at once; its maps are flattened both ways beforehand, so two of the four are reversed.
_CROSS = (False, False, True, True)

CASES = (
    _case("vim-t 1024", {"B": 1, "D": 384, "L": 4097, "N": 16, "G": 1}, gate=True),
    _case("vim-s 1024", {"B": 1, "D": 768, "L": 4097, "N": 16, "G": 1}, gate=True),
    _case("vim-s 1024 reversed", {"B": 1, "D": 768, "L": 4097, "N": 16, "G": 1}, gate=True, reverse=True),
    _case("vim-s 1024 both", {"B": 1, "D": 1536, "L": 4097, "N": 16, "G": 2}, gate=True, reverse=(False, True)),
    _case("vim-s 224", {"B": 8, "D": 768, "L": 197, "N": 16, "G": 1}, gate=True),
    _case("vmamba-s 1024 stage 1", {"B": 1, "D": 768, "L": 65536, "N": 1, "G": 4}, reverse=_CROSS),
    _case("vmamba-s 1024 stage 2", {"B": 1, "D": 1536, "L": 16384, "N": 1, "G": 4}, reverse=_CROSS),
    _case("vmamba-s 1024 stage 3", {"B": 1, "D": 3072, "L": 4096, "N": 1, "G": 4}, reverse=_CROSS),
    _case("vmamba-s 1024 stage 4", {"B": 1, "D": 6144, "L": 1024, "N": 1, "G": 4}, reverse=_CROSS),
    _case("small", {"B": 2, "D": 32, "L": 65, "N": 4, "G": 2}),
    _case("edge", {"B": 1, "D": 3, "L": 1, "N": 3, "G": 1}, gate=True, reverse=True),
)
