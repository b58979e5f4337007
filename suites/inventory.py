"""What `bench list` shows: one record for each registered thing."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..backbones import BackboneSpec
    from .training.recipes import Optimisation

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
        said = f"cannot list '{what}'." if what else "nothing to list is named."
        raise UsageError(f"{said}{hint} Expected one of {', '.join(_LISTINGS)}.")
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
            "images": spec.count or None,
            "expected below the data root": spec.tree,
            "source": spec.source,
        }
        for spec in DATASETS.values()
    ]


def _recipes() -> Records:
    from .ablations.class_recipes import CLASS_RECIPES
    from .ablations.recipes import DISTILL_RECIPES, FUSION_RECIPES
    from .ade20k.recipes import RECIPES as SEGMENTATION
    from .classification.recipes import RECIPES as CLASSIFICATION
    from .training.recipes import RECIPES as MASKS

    masks = {"sam-hq": MASKS, "ablation-fusion": FUSION_RECIPES, "ablation-distill": DISTILL_RECIPES}
    classes = {"classification": CLASSIFICATION, "ablation-encoder": CLASS_RECIPES}
    return [
        *(_recipe(suite, name, r.frame, r.eval_frame, r.joint, r.distill) for suite, name, r in _each(masks)),
        *(_recipe(suite, name, r.size, r.eval_size, r.train, epochs=r.epochs) for suite, name, r in _each(classes)),
        *(_recipe("ade20k", name, r.crop, r.scale[1], r.train) for name, r in SEGMENTATION.items()),
    ]


def _each(recipes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    return ((suite, name, recipe) for suite, named in recipes.items() for name, recipe in named.items())


def _recipe(
    suite: str,
    name: str,
    side: int,
    eval_side: int,
    train: Optimisation,
    distill: Optimisation | None = None,
    epochs: float = 0,
) -> dict[str, Any]:
    stages = [stage for stage in (distill, train) if stage is not None and stage.steps]
    minutes = [stage.max_minutes for stage in stages if stage.max_minutes is not None]
    return {
        "name": name,
        "suite": suite,
        "side": side,
        "eval side": eval_side,
        "epochs": epochs or None,
        "distill steps": distill and distill.steps,
        "steps": train.steps or None,
        "images a step": train.images,
        "lr": train.lr,
        "most minutes": round(sum(minutes), 2) or None,
    }


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
