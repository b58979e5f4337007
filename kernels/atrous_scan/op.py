"""Atrous scan as torch operators: `linbench::atrous_scan` and `linbench::atrous_merge`, each the other's gradient."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from torch import Tensor

from ..registration import define_operator
from .layout import sub_grid_size


def _form(backend: str) -> ModuleType:
    return importlib.import_module({"torch": ".plain"}.get(backend, f".{backend}"), __package__)


def _scan(x: Tensor, step: int, backend: str) -> Tensor:
    result: Tensor = _form(backend).scan(x, step)
    return result


def _fake_scan(x: Tensor, step: int, backend: str) -> Tensor:
    batch, channels, height, width = x.shape
    rows, columns = sub_grid_size(height, width, step)
    return x.new_empty(batch, step**2, channels, rows * columns)


def _merge(y: Tensor, height: int, width: int, step: int, backend: str) -> Tensor:
    result: Tensor = _form(backend).merge(y, height, width, step)
    return result


def _fake_merge(y: Tensor, height: int, width: int, step: int, backend: str) -> Tensor:
    return y.new_empty(y.shape[0], y.shape[2], height * width)


def _scan_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.step, ctx.backend = inputs
    ctx.grid = x.shape[2:]


def _differentiate_scan(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    flat = atrous_merge_op(g, *ctx.grid, ctx.step, ctx.backend)
    return flat.view(*flat.shape[:2], *ctx.grid), None, None


def _merge_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, height, width, ctx.step, ctx.backend = inputs
    ctx.grid = (height, width)


def _differentiate_merge(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    maps = g.reshape(*g.shape[:2], *ctx.grid)
    return atrous_scan_op(maps, ctx.step, ctx.backend), None, None, None, None


atrous_scan_op = define_operator(
    "atrous_scan",
    "(Tensor x, int step, str backend) -> Tensor",
    _scan,
    _fake_scan,
    backward=_differentiate_scan,
    setup_context=_scan_context,
)

atrous_merge_op = define_operator(
    "atrous_merge",
    "(Tensor y, int height, int width, int step, str backend) -> Tensor",
    _merge,
    _fake_merge,
    backward=_differentiate_merge,
    setup_context=_merge_context,
)
