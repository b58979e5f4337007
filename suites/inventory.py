"""What `bench list` shows: one record for each registered thing."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from ..errors import UsageError

Records = list[dict[str, Any]]


def inventory(what: str) -> Records:
    """Records of `backbones`, `systems`, `suites`, `datasets`, `recipes` or `kernels`.

    Raises:
        UsageError: Another word.
    """
    if what not in _LISTINGS:
        close = difflib.get_close_matches(what, _LISTINGS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"cannot list '{what}'.{hint} Expected one of {', '.join(_LISTINGS)}.")
    return _LISTINGS[what]()


def _backbones() -> Records:
    from ..backbones import backbone_spec, list_backbones

    return [
        {
            "name": spec.name,
            "mixer": spec.mixer,
            "parameters": spec.params.get("backbone"),
            "operators": ", ".join(spec.operators),
            "sides multiple of": spec.image_multiple,
            "source": spec.source,
        }
        for spec in map(backbone_spec, list_backbones())
    ] + [{"name": "timm:<name>", "mixer": "as timm", "source": "any model of timm that gives feature maps"}]


def _systems() -> Records:
    from ..heads.sam import list_systems
    from ..heads.sam.weights import demo_systems

    demo = demo_systems()
    return [{"name": name, "demo weights": "yes" if name in demo else ""} for name in list_systems()]


def _suites() -> Records:
    from . import SUITES

    return [{"name": name, "measures": entry.summary} for name, entry in SUITES.items()]


def _datasets() -> Records:
    from .data.datasets import DATASETS

    return [
        {
            "name": spec.name,
            "title": spec.title,
            "images": spec.count,
            "expected below the data root": spec.tree,
            "source": spec.source,
        }
        for spec in DATASETS.values()
    ]


def _recipes() -> Records:
    from .training.recipes import RECIPES

    return [
        {
            "name": name,
            "frame": recipe.frame,
            "eval frame": recipe.eval_frame,
            "distill steps": recipe.distill.steps,
            "joint steps": recipe.joint.steps,
            "images a step": recipe.joint.images,
            "lr": recipe.joint.lr,
            "most minutes": None
            if recipe.joint.max_minutes is None
            else (recipe.distill.max_minutes or 0) * bool(recipe.distill.steps) + recipe.joint.max_minutes,
        }
        for name, recipe in RECIPES.items()
    ]


def _kernels() -> Records:
    from ..kernels import operator_backends

    return [
        {"operator": s.operator, "backend": s.backend, "works here": "yes" if s.available else "no", "reason": s.reason}
        for s in operator_backends()
    ]


_LISTINGS: dict[str, Callable[[], Records]] = {
    "backbones": _backbones,
    "systems": _systems,
    "suites": _suites,
    "datasets": _datasets,
    "recipes": _recipes,
    "kernels": _kernels,
}
