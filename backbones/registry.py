"""The registry of backbones: names to specs, specs to modules. Importing it does not import torch."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ..errors import UsageError
from .catalogue import CATALOGUE
from .plugins import Plugins, collect_plugins, describe_external, import_attribute, require_backbone
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

EXTERNAL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@functools.lru_cache(maxsize=1)
def _plugins() -> Plugins:
    return collect_plugins(SPECS)


def all_specs() -> dict[str, BackboneSpec]:
    """Specs by name: LinBench's own, then those of installed plug-ins."""
    return {**SPECS, **_plugins().specs}


def plugin_problems() -> tuple[str, ...]:
    """One line for each installed plug-in that could not be used: its distribution, and why."""
    return _plugins().problems


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the registered backbones that match a shell pattern, those of installed plug-ins included.

    `timm:<name>` works besides for any timm model, and `package.module:function` for a backbone that is not registered.
    """
    return [name for name in all_specs() if fnmatch.fnmatch(name, pattern)]


def backbone_spec(name: str) -> BackboneSpec:
    """The description of one backbone.

    Args:
        name: Registry name, `timm:<name>`, or `package.module:function` for a function or class that builds a backbone,
            or for a `BackboneSpec`.

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
    if EXTERNAL.fullmatch(name) and not name.startswith("timm:"):
        return describe_external(name)
    known = all_specs()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    broken = f" Plug-ins that could not be used: {'; '.join(plugin_problems())}." if plugin_problems() else ""
    raise UsageError(
        f"unknown backbone '{name}'.{hint} `bench list backbones` shows all; timm models are 'timm:<name>', others "
        f"'package.module:function'.{broken}"
    )


def backbone_options(name: str) -> frozenset[str]:
    """Names of the overrides that `create_backbone(name, ...)` takes; a timm model takes more than are named here.

    Raises:
        UsageError: Unknown name.
    """
    parameters = inspect.signature(_builder(backbone_spec(name))).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def create_backbone(
    name: str,
    *,
    weights: str | None = None,
    kernels: str = "auto",
    gradient_checkpointing: bool = False,
    **overrides: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: Registry name, `timm:<name>`, or `package.module:function`.
        weights: None for random initialisation, the path of a checkpoint of this backbone, `official` for its default
            official checkpoint (downloaded where it is not here), or `official:<tag>`.
        kernels: Backend of LinBench's operators in it: `auto`, or one that `bench list kernels` shows.
        gradient_checkpointing: Compute blocks again in backward: less memory, more time, the same gradients.
        overrides: Arguments of the family's class, for example `attention="eager"` or `drop_path=0.1`.

    Returns:
        The module in training mode: `Features(maps, pooled) = backbone(images)`.

    Raises:
        UsageError: Unknown name or option, or official weights that are not known.
        WeightsError: The checkpoint is missing, unsafe, damaged or of another model, or cannot be downloaded.
    """
    spec = backbone_spec(name)
    kwargs = {**spec.kwargs, **overrides}
    if spec.operators:
        kwargs["kernels"] = kernels
    elif kernels != "auto":
        raise UsageError(
            f"'{name}' calls none of LinBench's operators, so kernels='{kernels}' cannot apply; leave it out"
        )
    builder = _builder(spec)
    if spec.builder.startswith("."):
        _check_choices(name, builder, overrides)
    try:
        backbone = builder(**kwargs)
    except TypeError as error:
        raise UsageError(f"cannot build '{name}' with {overrides or 'its defaults'}: {error}") from error
    require_backbone(backbone, spec.builder)
    if gradient_checkpointing:
        backbone.set_gradient_checkpointing(True)
    if weights is not None:
        from .weight_files import resolve_weights
        from .weights import load_checkpoint

        load_checkpoint(backbone, resolve_weights(name, weights))
    return backbone


def _builder(spec: BackboneSpec) -> Callable[..., Backbone]:
    builder: Callable[..., Backbone] = import_attribute(spec.builder)
    return builder


def _check_choices(name: str, builder: Callable[..., Backbone], overrides: Mapping[str, Any]) -> None:
    """Raise UsageError where an override is none of the words that its annotation allows."""
    parameters = inspect.signature(builder, eval_str=True).parameters
    for option, value in overrides.items():
        hint = parameters[option].annotation if option in parameters else None
        words = get_args(hint) if get_origin(hint) is Literal else (value,)
        if value not in words:
            raise UsageError(f"cannot build '{name}' with {option}={value!r}; expected one of {', '.join(words)}")
