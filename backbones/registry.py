"""The registry of backbones: names to specs, specs to modules. Importing it does not import torch."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .catalogue import CATALOGUE
from .spec import BackboneSpec

if TYPE_CHECKING:
    from .base import Backbone


def collect_specs(specs: Iterable[BackboneSpec]) -> dict[str, BackboneSpec]:
    """Specs by name.

    Raises:
        ValueError: Two specs have one name; both builders are named.
    """
    found: dict[str, BackboneSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise ValueError(f"two backbones are called '{spec.name}': {found[spec.name].builder} and {spec.builder}")
        found[spec.name] = spec
    return found


SPECS: Mapping[str, BackboneSpec] = collect_specs(CATALOGUE)


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the registered backbones that match a shell pattern; `timm:<name>` works besides for any timm model."""
    return [name for name in SPECS if fnmatch.fnmatch(name, pattern)]


def backbone_spec(name: str) -> BackboneSpec:
    """The description of one backbone.

    Raises:
        UsageError: No such name; the message suggests near ones.
    """
    if name.startswith("timm:") and len(name) > len("timm:"):
        from .timm_models import check_name  # timm is slow to import

        check_name(name.removeprefix("timm:"))
        return BackboneSpec(
            name=name,
            family="timm",
            mixer="as timm",
            builder=".timm_models:TimmBackbone",
            kwargs={"model": name.removeprefix("timm:")},
            source="timm",
            image_multiple=32,
        )
    if name in SPECS:
        return SPECS[name]
    close = difflib.get_close_matches(name, [*SPECS], n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise UsageError(
        f"unknown backbone '{name}'.{hint} `bench list backbones` shows all; timm models are 'timm:<name>'."
    )


def backbone_options(name: str) -> frozenset[str]:
    """Names of the overrides that `create_backbone(name, ...)` takes; a timm model takes more than are named here.

    Raises:
        UsageError: Unknown name.
    """
    parameters = inspect.signature(_builder(backbone_spec(name))).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def create_backbone(name: str, *, weights: str | None = None, kernels: str = "auto", **overrides: Any) -> Backbone:
    """Build a backbone.

    Args:
        name: Registry name, or `timm:<name>`.
        weights: None for random initialisation, or the path of a checkpoint of this backbone.
        kernels: Backend of LinBench's operators in it: `auto`, or one that `bench list kernels` shows.
        overrides: Arguments of the family's class, for example `attention="eager"` or `drop_path=0.1`.

    Returns:
        The module in training mode: `Features(maps, pooled) = backbone(images)`.

    Raises:
        UsageError: Unknown name or option.
        WeightsError: The checkpoint is missing, unsafe, damaged or of another model.
    """
    spec = backbone_spec(name)
    kwargs = {**spec.kwargs, **overrides}
    if spec.operators:
        kwargs["kernels"] = kernels
    elif kernels != "auto":
        raise UsageError(
            f"'{name}' calls none of LinBench's operators, so kernels='{kernels}' cannot apply; leave it out"
        )
    try:
        backbone: Backbone = _builder(spec)(**kwargs)
    except TypeError as error:
        raise UsageError(f"cannot build '{name}' with {overrides or 'its defaults'}: {error}") from error
    if weights is not None:
        from .official import load_official
        from .weights import read_checkpoint

        load_official(backbone, read_checkpoint(weights))
    return backbone


def _builder(spec: BackboneSpec) -> Callable[..., Backbone]:
    module, _, attribute = spec.builder.partition(":")
    builder: Callable[..., Backbone] = getattr(importlib.import_module(module, __package__), attribute)
    return builder
