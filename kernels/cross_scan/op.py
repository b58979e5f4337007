"""Cross-scan as torch operators: `linbench::cross_scan` and `linbench::cross_merge`, each the other's gradient."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from torch import Tensor

from ..registration import define_operator


def _form(backend: str) -> ModuleType:
    return importlib.import_module({"torch": ".plain"}.get(backend, f".{backend}"), __package__)


def _scan(x: Tensor, backend: str) -> Tensor:
    result: Tensor = _form(backend).scan(x)
    return result


def _fake_scan(x: Tensor, backend: str) -> Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty(batch, 4, channels, height * width)


def _merge(y: Tensor, backend: str) -> Tensor:
    result: Tensor = _form(backend).merge(y)
    return result


def _fake_merge(y: Tensor, backend: str) -> Tensor:
    batch, _, channels, height, width = y.shape
    return y.new_empty(batch, channels, height * width)


def _scan_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.backend = inputs
    ctx.grid = x.shape[2:]


def _differentiate_scan(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    maps = g.reshape(*g.shape[:3], *ctx.grid)
    return cross_merge_op(maps, ctx.backend).view(g.shape[0], g.shape[2], *ctx.grid), None


def _merge_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    y, ctx.backend = inputs
    ctx.grid = y.shape[3:]


def _differentiate_merge(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    maps = g.reshape(*g.shape[:2], *ctx.grid)
    return cross_scan_op(maps, ctx.backend).view(g.shape[0], 4, g.shape[1], *ctx.grid), None


cross_scan_op = define_operator(
    "cross_scan",
    "(Tensor x, str backend) -> Tensor",
    _scan,
    _fake_scan,
    backward=_differentiate_scan,
    setup_context=_scan_context,
)

cross_merge_op = define_operator(
    "cross_merge",
    "(Tensor y, str backend) -> Tensor",
    _merge,
    _fake_merge,
    backward=_differentiate_merge,
    setup_context=_merge_context,
)
