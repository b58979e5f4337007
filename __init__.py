"""LinBench: linear-attention vision backbones against softmax ones, under one decoder, one recipe, one way to measure.

The public names are imported when they are first used, so that `import linbench` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "backbone_spec": "backbones",
    "create_backbone": "backbones",
    "list_backbones": "backbones",
    "create_classifier": "heads.classifier",
    "create_segmenter": "heads.upernet",
    "create_system": "heads.sam",
    "list_systems": "heads.sam",
    "Predictor": "heads.sam.predictor",
    "list_suites": "suites",
    "load_official": "backbones.official",
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604 - the names are strings, resolved lazily

if TYPE_CHECKING:
    from .backbones import backbone_spec as backbone_spec
    from .backbones import create_backbone as create_backbone
    from .backbones import list_backbones as list_backbones
    from .backbones.official import load_official as load_official
    from .heads.classifier import create_classifier as create_classifier
    from .heads.sam import create_system as create_system
    from .heads.sam import list_systems as list_systems
    from .heads.sam.predictor import Predictor as Predictor
    from .heads.upernet import create_segmenter as create_segmenter
    from .suites import list_suites as list_suites


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    if name in {"backbones", "heads", "kernels", "results", "suites"}:
        return importlib.import_module(f".{name}", __name__)
    if name == "predictor":
        return importlib.import_module(".heads.sam.predictor", __name__)
    raise AttributeError(f"module 'linbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
