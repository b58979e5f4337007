"""The best number of a column, by what the column's cells say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

Goal = Literal["high", "low"]

SEPARATOR = " / "
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_INTERVAL = re.compile(r"\[([+-]?\d+(?:\.\d+)?), ([+-]?\d+(?:\.\d+)?)\]")
_UNSTABLE = "†"


class Shown(NamedTuple):
    """A number as a cell shows it: value and interval, which is the value itself where none is shown."""

    value: float
    low: float
    high: float


def read_number(text: str) -> Shown | None:
    """The number that a part of a cell begins with; None for a mark, and for an unstable number: it is never best."""
    found = _NUMBER.match(text)
    if found is None or _UNSTABLE in text:
        return None
    value = float(found.group())
    interval = _INTERVAL.search(text)
    low, high = (value, value) if interval is None else map(float, interval.groups())
    return Shown(value, low, high)


def best_parts(texts: Sequence[str], goal: Goal) -> list[frozenset[int]]:
    """For each cell of a column, which of its parts (between slashes) are the best among the same part of all cells.

    What ties with the best is best too: an equal number, or one whose interval overlaps the best's. A column with a
    single number has no best.
    """
    split = [[read_number(part) for part in text.split(SEPARATOR)] for text in texts]
    best: list[set[int]] = [set() for _ in texts]
    for place in range(max(map(len, split), default=0)):
        there = [(line, parts[place]) for line, parts in enumerate(split) if len(parts) > place]
        numbers = [(line, found) for line, found in there if found is not None]
        if len(numbers) < 2:
            continue
        choose = max if goal == "high" else min
        top = choose((found for _, found in numbers), key=lambda found: found.value)
        for line, found in numbers:
            if found.low <= top.high and top.low <= found.high:
                best[line].add(place)
    return [frozenset(places) for places in best]


def emphasised(
    columns: Sequence[tuple[str, str]],
    cells: Sequence[Sequence[str]],
    goals: Mapping[tuple[str, str], Goal],
    *,
    plain: Callable[[str], str],
    bold: Callable[[str], str],
) -> list[list[str]]:
    """The cells with the best of each column with a goal in bold.

    Args:
        columns: Heads, by which `goals` are found.
        cells: Text, line by line.
        goals: Whether high or low is best.
        plain: Makes any text safe for the form it is for.
        bold: What bold is in that form, of a safe text.
    """
    lines = [[plain(text) for text in line] for line in cells]
    for index, column in enumerate(columns):
        if column not in goals:
            continue
        for line, places in enumerate(best_parts([line[index] for line in cells], goals[column])):
            parts = [plain(part) for part in cells[line][index].split(SEPARATOR)]
            shown = [bold(part) if place in places else part for place, part in enumerate(parts)]
            lines[line][index] = SEPARATOR.join(shown)
    return lines
