"""Builds tables and figures around rows that they cannot be made of, and names these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..schema import Row

BuiltT = TypeVar("BuiltT")
Build = Callable[[Sequence[Row]], BuiltT]

_OF_ROWS = (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError)


def build_without_faulty(build: Build[BuiltT], rows: Sequence[Row], what: str) -> tuple[BuiltT, list[str]]:
    """Build from all rows; where a row lacks what its suite's rows have, from all others.

    Args:
        build: Makes something of rows.
        rows: What it is made of.
        what: Its name, for the messages.

    Returns:
        What was built, and a line for each row that was left out.
    """
    try:
        return build(rows), []
    except _OF_ROWS as error:
        faults = _faults(build, rows, error)
    if len(faults) == len(rows):
        return build([]), [_line(row, error, what) for row, error in faults]
    left = [row for row in rows if not any(row is fault for fault, _ in faults)]
    return build(left), [_line(row, error, what) for row, error in faults]


def _faults(build: Build[BuiltT], rows: Sequence[Row], error: Exception) -> list[tuple[Row, Exception]]:
    """The rows that fail by themselves, found by halves.

    Raises:
        Exception: That of `build`, where no row fails by itself.
    """
    if len(rows) == 1:
        return [(rows[0], error)]
    faults = []
    for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        try:
            build(half)
        except _OF_ROWS as found:
            faults += _faults(build, half, found)
    if not faults:
        raise error
    return faults


def _line(row: Row, error: Exception, what: str) -> str:
    reason = f"{type(error).__name__}: {error}"
    return f"row {row.cell.key} ({row.cell.suite}, {row.cell.backbone}) does not fit into {what} ({reason})"
