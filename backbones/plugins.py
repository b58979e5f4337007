"""Backbones from outside: those that installed packages register, and `package.module:function`."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from ..errors import LinBenchError, UsageError
from .spec import BackboneSpec

GROUP = "linbench.backbones"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Plugins(NamedTuple):
    """What installed packages register: specs by name, and one line for each package that could not be used."""

    specs: dict[str, BackboneSpec]
    problems: tuple[str, ...]


def collect_plugins(taken: Mapping[str, BackboneSpec]) -> Plugins:
    """Ask every entry point of the group `linbench.backbones` for its backbones.

    An entry point names a `BackboneSpec`, several of them, or a function that returns these. One that is broken becomes
    a line of `problems` and takes nothing else with it.

    Args:
        taken: Specs whose names are given away.
    """
    specs: dict[str, BackboneSpec] = {}
    problems = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (_distribution(point), point.name)):
        try:
            found: dict[str, BackboneSpec] = {}
            for spec in _specs_of(point.load()):
                _check_name(spec, {**taken, **specs, **found})
                found[spec.name] = spec
        # Whatever a stranger's package does while it is imported, the others are to be listed.
        except (Exception, SystemExit) as error:
            problems.append(f"{_distribution(point)} ({point.name} = {point.value}): {_one_line(error)}")
        else:
            specs |= found
    return Plugins(specs, tuple(problems))


@functools.lru_cache(maxsize=64)
def describe_external(path: str) -> BackboneSpec:
    """The spec of `package.module:attribute`, under that name.

    The attribute is a `BackboneSpec`, or a function or class that returns one or a `Backbone` when it is called without
    arguments. A backbone is built once to see what it is.

    Raises:
        UsageError: It cannot be imported or called, or is something else.
    """
    target = import_attribute(path)
    if isinstance(target, BackboneSpec):
        return replace(target, name=path)
    if not callable(target):
        raise UsageError(
            f"'{path}' is a {type(target).__name__}; expected a function or class that builds a Backbone, "
            "or a BackboneSpec"
        )
    import torch

    # Looking at a backbone must not shift the random numbers that its weights are drawn from later.
    with torch.random.fork_rng(devices=[]):
        try:
            built = target()
        except LinBenchError:
            raise
        except Exception as error:
            raise UsageError(f"'{path}' fails when it is called without arguments: {_one_line(error)}") from error
    if isinstance(built, BackboneSpec):
        return replace(built, name=path)
    require_backbone(built, path)
    return BackboneSpec(
        name=path,
        family="external",
        mixer="external",
        builder=path,
        params={"backbone": sum(parameter.numel() for parameter in built.parameters())},
        source=path.partition(":")[0],
        strides=tuple(info.stride for info in built.feature_info),
        image_multiple=built.image_multiple,
    )


def import_attribute(path: str) -> Any:
    """What `package.module:attribute` names; `.module:attribute` lies inside `linbench.backbones`.

    Raises:
        UsageError: There is no such module or attribute, or importing it fails.
    """
    module, _, attributes = path.partition(":")
    try:
        target: Any = importlib.import_module(module, __package__)
        for attribute in attributes.split("."):
            target = getattr(target, attribute)
    except LinBenchError:
        raise
    except Exception as error:
        raise UsageError(
            f"cannot import '{path}' ({_one_line(error)}); install its package, or put its folder on PYTHONPATH"
        ) from error
    return target


def require_backbone(built: Any, path: str) -> None:
    """Raise a UsageError unless what `path` returned is a whole `Backbone`."""
    from .base import Backbone

    lacking = [name for name in ("feature_info", "pooled_channels") if not hasattr(built, name)]
    if not isinstance(built, Backbone):
        raise UsageError(f"'{path}' returned a {type(built).__name__}; expected a linbench.backbones.base.Backbone")
    if lacking:
        raise UsageError(f"'{path}' returned a Backbone that does not set {' and '.join(lacking)}")


def _specs_of(value: Any) -> list[BackboneSpec]:
    if callable(value):
        value = value()
    found = [value] if isinstance(value, BackboneSpec) else list(value) if isinstance(value, Iterable) else []
    if not found or not all(isinstance(spec, BackboneSpec) for spec in found):
        raise TypeError(f"expected a BackboneSpec, a list of them, or a function that returns these; got {value!r:.80}")
    return found


def _check_name(spec: BackboneSpec, taken: Mapping[str, BackboneSpec]) -> None:
    if not NAME.fullmatch(spec.name):
        raise ValueError(f"'{spec.name}' is no backbone name; expected lower-case letters, digits and . _ -")
    if spec.name in taken:
        raise ValueError(f"the name '{spec.name}' is taken by {taken[spec.name].builder}; choose another")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
