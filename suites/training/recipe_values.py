"""What recipes of all suites share: the check of a value, and fields that a recipe gained later."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...errors import UsageError

LATER = {"left out of a recipe's dictionary while it has its default": True}
"""Metadata of a dataclass field that came after rows were stored, which keep their recipe's digest so."""


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Hold a recipe's value to its range.

    Raises:
        UsageError: `condition` is false; says the value's name, what it is and what was expected.
    """
    if not condition:
        raise UsageError(f"recipe value {name}={value!r} is out of range; expected {expected}")


def recipe_dict(recipe: Any) -> dict[str, Any]:
    """A recipe as JSON-ready values, nested recipes as dictionaries; `LATER` fields only where they say something."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.metadata == LATER and value == field.default:
            continue
        values[field.name] = recipe_dict(value) if dataclasses.is_dataclass(value) else value
    return values
