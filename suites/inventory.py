"""What `bench list` shows: one record for each registered thing."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..backbones import BackboneSpec

Records = list[dict[str, Any]]

_PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


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


def shown(what: str, records: Records) -> Records:
    """The records in the columns of a table for a person, narrow enough for a terminal of 100 characters."""
    return [_shown_backbone(record) for record in records] if what == "backbones" else records


def _backbones() -> Records:
    from ..backbones import backbone_spec, list_backbones

    return [_backbone(backbone_spec(name)) for name in list_backbones()] + [
        {"name": "timm:<name>", "mixer": "as timm", "source": "any model of timm that gives feature maps"},
        {"name": "<module>:<name>", "mixer": "yours", "source": "a function or class that builds a Backbone"},
    ]


def _backbone(spec: BackboneSpec) -> dict[str, Any]:
    from ..backbones.checkpoints import LICENCES, checkpoints_for
    from ..backbones.weight_files import is_cached

    official = checkpoints_for(spec.name)
    return {
        "name": spec.name,
        "family": spec.family,
        "mixer": spec.mixer,
        "strides": list(spec.strides),
        "parameters": spec.params.get("backbone"),
        "parameters with head": spec.params.get("with_head"),
        "parameter counts": dict(spec.params),
        "macs": dict(spec.macs),
        "operator flops": dict(spec.operator_flops),
        "operators": ", ".join(spec.operators),
        "sides multiple of": spec.image_multiple,
        "licence": spec.licence or LICENCES.get(spec.family, ""),
        "source": spec.source,
        "weights": [checkpoint.name for checkpoint in official],
        "weights here": [checkpoint.name for checkpoint in official if is_cached(checkpoint)],
        "note": spec.note,
    }


def _shown_backbone(record: dict[str, Any]) -> dict[str, Any]:
    strides, macs, flops = record.get("strides", []), record.get("macs", {}), record.get("operator flops", {})
    paper = _PAPER.search(record["source"])
    return {
        "name": record["name"],
        "mixer": textwrap.fill(record["mixer"].split(",")[0], 14),
        "stride": "-".join(str(stride) for stride in dict.fromkeys((*strides[:1], *strides[-1:]))),
        "params (M)": _scaled(record.get("parameters"), 1e6),
        "with head (M)": _scaled(record.get("parameters with head"), 1e6),
        "GMAC 224": _scaled(macs.get(224), 1e9),
        "GMAC 1024": _scaled(macs.get(1024), 1e9),
        "op GFLOP 1024": _scaled(flops.get(1024), 1e9),
        "licence": record.get("licence", ""),
        "source": paper[1] if paper else record["source"] if strides else "",
        "weights": "here" if record.get("weights here") else "yes" if record.get("weights") else "",
    }


def _scaled(count: int | None, unit: float) -> str:
    if count is None:
        return ""
    value = count / unit
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _systems() -> Records:
    from ..backbones.checkpoints import checkpoints_for
    from ..heads.sam import list_systems
    from ..heads.sam.weights import demo_systems

    demo = demo_systems()
    return [
        {
            "name": name,
            "demo weights": "yes" if name in demo else "",
            "official weights": ", ".join(checkpoint.name for checkpoint in checkpoints_for(name)),
        }
        for name in list_systems()
    ]


def _refine() -> Records:
    from ..heads.sam.refine import REFINE_MODULES

    return [
        {
            "name": name,
            "fuses by": entry.summary,
            "parameters": entry.params,
            "GMACs an image": None if entry.macs is None else round(entry.macs[0] / 1e9, 2),
            "GMACs a prompt": None if entry.macs is None else round(entry.macs[1] / 1e9, 2),
            "operators": ", ".join(entry.operators),
        }
        for name, entry in REFINE_MODULES.items()
    ]


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
    from .classification.recipes import RECIPES as CLASS_RECIPES
    from .training.recipes import RECIPES

    classes = [
        {
            "name": name,
            "suite": "classification",
            "frame": recipe.size,
            "eval frame": recipe.eval_size,
            "epochs": recipe.epochs or None,
            "steps": recipe.train.steps or None,
            "images a step": recipe.train.images,
            "lr": recipe.train.lr,
            "most minutes": recipe.train.max_minutes,
        }
        for name, recipe in CLASS_RECIPES.items()
    ]
    return [
        {
            "name": name,
            "suite": "sam-hq",
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
    ] + classes


def _kernels() -> Records:
    from ..kernels import operator_backends

    return [
        {"operator": s.operator, "backend": s.backend, "works here": "yes" if s.available else "no", "reason": s.reason}
        for s in operator_backends()
    ]


_LISTINGS: dict[str, Callable[[], Records]] = {
    "backbones": _backbones,
    "systems": _systems,
    "refine": _refine,
    "suites": _suites,
    "datasets": _datasets,
    "recipes": _recipes,
    "kernels": _kernels,
}
