"""Recipes by name, from TOML files, and with values changed; for frozen dataclasses of any suite."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RecipeT = TypeVar("RecipeT")
_LARGEST = 2**53
"""Of whole numbers: floats tell no larger ones apart."""


def load_from(recipes: Mapping[str, RecipeT], name: str, overrides: Sequence[str] = (), *, prefix: str = "") -> RecipeT:
    """Find a recipe and change values of it.

    Args:
        recipes: Frozen dataclasses with a field `name`; their values are single values, tuples or such dataclasses.
        name: One of `recipes`, or the path of a TOML file. A file may name its `base` and give only what differs; the
            text `none` in it is no value, as in an override.
        overrides: `key=value` texts; nested keys with a dot, for example `joint.lr=1e-4`.
        prefix: What the keys of all overrides begin with, and those in messages.

    Raises:
        UsageError: Unknown recipe or key (the nearest is named), or a value of another type or out of range.
    """
    recipe, changes = (recipes[name], {}) if name in recipes else _from_file(name, recipes)
    keys = list(_keys(recipe))
    for text in overrides:
        key, found, value = text.partition("=")
        if not found:
            raise UsageError(f"cannot read --set '{text}'; expected key=value, for example {prefix}{keys[0]}=...")
        changes[key.strip().removeprefix(prefix)] = _parse(value.strip())
    for key in changes:
        if key not in keys:
            raise UsageError(f"recipes have no key '{prefix}{key}'; {_hint(key, keys, prefix)}")
    return typing.cast(RecipeT, _replaced(recipe, changes, prefix))


def _from_file(name: str, recipes: Mapping[str, RecipeT]) -> tuple[RecipeT, dict[str, Any]]:
    """The recipe that a file is based on, named after the file, and what the file changes."""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"unknown recipe '{name}'; expected {', '.join(recipes)} or the path of a TOML file")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is no valid TOML: {error}") from error
    base = data.pop("base", next(iter(recipes)))
    if not isinstance(base, str) or base not in recipes:
        raise UsageError(f"recipe {path} names base '{base}'; expected one of {', '.join(recipes)}")
    recipe: Any = replace(typing.cast(Any, recipes[base]), name=path.stem)
    return recipe, dict(_flat(data))


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _parse(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text  # a line break may begin another key


def _keys(recipe: Any, prefix: str = "") -> Iterator[str]:
    """Every key that a value can be given for."""
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            yield from _keys(value, f"{prefix}{field.name}.")
        elif prefix or field.name != "name":
            yield prefix + field.name


def _hint(key: str, keys: Sequence[str], prefix: str) -> str:
    deeper = [prefix + known for known in keys if known.startswith(f"{key}.")]
    if deeper:
        return f"it is a group: {', '.join(deeper)}"
    above = next((known for known in keys if key.startswith(f"{known}.")), None)
    if above is not None:
        return f"it goes too deep: '{prefix}{above}' is a single value"
    # A key without its group, or in another one, is told by its last part.
    near = [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]]
    near = near or difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    told = [prefix + known for known in near or keys]
    return f"did you mean {' or '.join(told)}?" if near else f"here: {', '.join(told)}"


def _replaced(node: Any, changes: Mapping[str, Any], above: str) -> Any:
    """A recipe with all changes made at once, because one may be in range only beside another."""
    hints = typing.get_type_hints(type(node))
    values: dict[str, Any] = {}
    for name in dict.fromkeys(key.partition(".")[0] for key in changes):
        group = {key.removeprefix(f"{name}."): value for key, value in changes.items() if key.startswith(f"{name}.")}
        key = above + name
        values[name] = (
            _replaced(getattr(node, name), group, f"{key}.") if group else _coerced(changes[name], hints[name], key)
        )
    try:
        return replace(node, **values)
    except UsageError as error:
        raise UsageError(f"{above.removesuffix('.')}: {error}" if above else str(error)) from None


def _coerced(value: Any, hint: Any, key: str) -> Any:
    choices = typing.get_args(hint)
    optional = type(None) in choices
    if optional and value in (None, "none"):
        return None
    plain = next(choice for choice in choices if choice is not type(None)) if optional else hint
    items = typing.get_args(plain)
    if typing.get_origin(plain) is Literal and value in items:
        return value
    if typing.get_origin(plain) is tuple and isinstance(value, list):
        kinds = items[:1] * len(value) if items[1:] == (...,) else items
        if len(kinds) == len(value) and all(map(_fits, value, kinds)):
            return tuple(kind(one) for one, kind in zip(value, kinds, strict=True))
    if _fits(value, plain):
        return plain(value)
    if typing.get_origin(plain) is Literal:
        expected = f"one of {', '.join(map(str, items))}"
    else:
        expected = str(plain) if items else plain.__name__
    raise UsageError(f"recipe key '{key}' got {value!r}; expected {expected}{' or none' * optional}")


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) or kind not in (int, float):
        return kind in (bool, str) and isinstance(value, kind)
    if isinstance(value, int):
        return abs(value) <= _LARGEST
    return kind is float and isinstance(value, float) and math.isfinite(value)
