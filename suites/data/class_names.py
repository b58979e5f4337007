"""The names of the classes that weights were trained on: kept in their file, held to those of the data later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ...errors import WeightsError

NAMES = "class_names"
"""The entry of a safetensors file's metadata."""


def written(names: Sequence[str]) -> dict[str, str]:
    """The metadata that tell the class of each output."""
    return {NAMES: json.dumps(list(names), ensure_ascii=False)}


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; none of files in other formats and of unreadable ones."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}  # whoever loads the file tells what is wrong with it


def check_class_names(path: Path, names: Sequence[str]) -> None:
    """Hold the classes that a checkpoint was trained on to the data's, where both have names and are as many.

    Raises:
        WeightsError: An output was trained on another class than the data have in its place.
    """
    trained = _names_in(path)
    if len(trained) != len(names) or _numbered(trained) or _numbered(names):
        return
    for place, (one, other) in enumerate(zip(trained, names, strict=True)):
        if one != other:
            raise WeightsError(
                f"{path}: output {place} was trained on the class '{one}', which is '{other}' in these data; give "
                "weights that were trained on these classes"
            )


def _names_in(path: Path) -> list[str]:
    try:
        found = json.loads(metadata(path).get(NAMES, "[]"))
    except ValueError:
        return []  # an entry of the same name in somebody else's file
    return found if isinstance(found, list) else []


def _numbered(names: Sequence[str]) -> bool:
    """Whether the classes have no names, as those of shards."""
    return list(names) == list(map(str, range(len(names))))
