"""How good systems are, by what and on which data: one value for each system, for figures that set it against speed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..schema import Row
from ..series import NUMBERED, Series, group, newest, short_labels, split_series
from ..tabling.lines import is_baseline
from ..words import DATA_WORDS

MASK_SETS = ("DIS", "COIFT", "HRSOD")
_CONDITIONS = ("data", "datasets", "dataset_fingerprints", "protocol", "frame", "limit", "decoder", "classes")
_MEASURES = {"classification": ("top1", "top-1 accuracy (%)"), "ade20k": ("miou", "mIoU (%)")}
_UNTRAINED = "before"


@dataclass(frozen=True)
class Quality:
    """A system's value.

    Attributes:
        backbone: As in its rows.
        label: With what tells it from the others.
        value: Mean over seeds.
        parameters: Of the backbone, in millions; None where the rows do not say.
    """

    backbone: str
    label: str
    value: float
    parameters: float | None


@dataclass(frozen=True)
class Scores:
    """Systems that were scored alike.

    Attributes:
        suite: Suite of the rows.
        title: The data.
        unit: Name of the axis with its unit.
        systems: By label.
    """

    suite: str
    title: str
    unit: str
    systems: tuple[Quality, ...]


def scores_of(rows: Sequence[Row], suites: Sequence[str]) -> list[Scores]:
    """Every group of rows of these suites that were scored on the same data in the same way; baselines left out."""
    found = []
    for suite in suites:
        mine = [
            row
            for row in newest(rows)
            if row.cell.suite == suite and not is_baseline(row.cell.backbone) and row.status in NUMBERED
        ]
        scored = [row for row in mine if row.cell.params.get("stage") != _UNTRAINED]
        for _, members in group(scored, lambda row: ({name: row.cell.params.get(name) for name in _CONDITIONS},)):
            systems = _systems(suite, members)
            if systems:
                data = str(members[0].cell.params.get("data"))
                found.append(Scores(suite, DATA_WORDS.get(data, data), _unit(suite, members[0]), systems))
    return found


def _systems(suite: str, rows: Sequence[Row]) -> tuple[Quality, ...]:
    series = split_series(rows, varying=("seed",), shown=(*_CONDITIONS, "device", "teacher_sha256", "kernels"))
    values = [_mean([_value(suite, row) for row in one.rows]) for one in series]
    found = zip(series, short_labels(series), values, strict=True)
    return tuple(
        Quality(one.backbone, label, value, _parameters(one)) for one, label, value in found if value is not None
    )


def _value(suite: str, row: Row) -> float | None:
    if suite in _MEASURES:
        return row.metrics.get(_MEASURES[suite][0])
    return _mean([row.metrics.get(f"{name}/miou") for name in _sets(row)])


def _sets(row: Row) -> list[str]:
    scored = sorted(name.removesuffix("/miou") for name in row.metrics if name.endswith("/miou"))
    return [name for name in MASK_SETS if name in scored] or scored


def _unit(suite: str, row: Row) -> str:
    return _MEASURES[suite][1] if suite in _MEASURES else f"mIoU, mean of {', '.join(_sets(row))} (%)"


def _parameters(series: Series) -> float | None:
    names = ("params_backbone", "parameters")
    counts = [row.metrics.get(name) for row in series.rows for name in names]
    known: list[Any] = [count for count in counts if count]
    return known[0] / 1e6 if known else None


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
