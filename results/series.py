"""Rows that belong together: what a table's line or a figure's curve is made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .provenance import device_name
from .schema import Cell, Row, canonical_json

NUMBERED = ("ok", "unstable")
MARKS = {"oom": "OOM", "skipped": "skip", "unsupported": "n/a", "interrupted": "-"}
FAILED_MARK = "fail"
MARK_MEANINGS = {
    "-": "not measured",
    "OOM": "out of memory",
    "skip": "not tried, since a smaller size ran out of memory or time",
    "n/a": "not supported by the model or a backend",
    "fail": "ended with an error; the row says which",
    "†": "unstable measurement",
}


_DIGESTS = ("_sha", "_sha256", "fingerprint", "fingerprints")


@dataclass(frozen=True)
class Series:
    """Rows of one backbone that differ in the varied parameters only.

    Attributes:
        backbone: Registry name.
        label: The name, with the parameters in brackets that tell it from the other series beside it.
        rows: In the order given.
    """

    backbone: str
    label: str
    rows: tuple[Row, ...]

    def param(self, name: str) -> Any:
        """The value that all rows of the series share."""
        return self.rows[0].cell.params.get(name)


def newest(rows: Iterable[Row]) -> list[Row]:
    """The last row of each cell on each device, in the order given; an interrupted row supersedes none."""
    kept: dict[tuple[str, str, str | None], Row] = {}
    for row in rows:
        key = _measurement(row)
        if row.status != "interrupted" or key not in kept:
            kept[key] = row
    return list(kept.values())


def current(rows: Iterable[Row]) -> list[Row]:
    """The newest rows, and all others of sweeps that no later sweep holds whole; in the order given.

    What takes part in a sweep is measured in turns and has its noise floor, so a curve is best taken from one sweep.
    """
    rows = list(rows)
    kept, gone = {id(row) for row in newest(rows)}, _outdated_sweeps(rows)
    return [row for row in rows if id(row) in kept or (sweep_of(row) and sweep_of(row) not in gone)]


def of_one_sweep(rows: Sequence[Row]) -> list[Row]:
    """One row of each cell: those of the newest sweep that has them all, else each one's newest.

    A cell whose newest row is of no sweep, as one that ended with an error is, keeps that row and asks for no sweep.

    Args:
        rows: Of one device, oldest first within a cell.
    """
    latest = newest(rows)
    swept = {row.cell.key for row in latest if sweep_of(row)}
    whole = [found for _, found in _sweeps(rows) if swept <= found.keys()]
    return [whole[-1][row.cell.key] if whole and row.cell.key in swept else row for row in latest]


def sweep_of(row: Row) -> str | None:
    """Name of the latency sweep that a row is from."""
    name: str | None = row.provenance.get("schedule", {}).get("sweep")
    return name


def _sweeps(rows: Iterable[Row]) -> list[tuple[str, dict[str, Row]]]:
    """The sweeps in the order of their ends, each with its rows by cell, noise floors left out."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if (name := sweep_of(row)) and row.cell.params.get("measure") != "noise":
            found.setdefault(name, {})[row.cell.key] = row
    return sorted(found.items(), key=lambda sweep: max(row.created_utc for row in sweep[1].values()))


def _outdated_sweeps(rows: Iterable[Row]) -> set[str]:
    sweeps = [(name, {(key, device_name(row)) for key, row in found.items()}) for name, found in _sweeps(rows)]
    return {
        name for place, (name, cells) in enumerate(sweeps) if any(cells <= later for _, later in sweeps[place + 1 :])
    }


def _measurement(row: Row) -> tuple[str, str, str | None]:
    """What a later row of the same stands for: the cell on its device; a noise floor is that of its sweep alone."""
    sweep = sweep_of(row) if row.cell.params.get("measure") == "noise" else None
    return row.cell.key, device_name(row), sweep


def short_labels(series: Sequence[Series]) -> list[str]:
    """For each series its backbone's name alone where it is the only one of that backbone, else its whole label."""
    counts = Counter(one.backbone for one in series)
    return [one.backbone if counts[one.backbone] == 1 else one.label for one in series]


def superseded(rows: Sequence[Row]) -> list[Row]:
    """The rows that a later one of the same cell, device and installation stands for, an ok row never by another kind.

    Rows of a sweep go together, when a later sweep holds them all; see `current`.

    Args:
        rows: Oldest first within a cell, as a store gives them.
    """
    gone = _outdated_sweeps(rows)
    members: dict[tuple[tuple[str, str, str | None], str | None], list[Row]] = {}
    for row in rows:
        members.setdefault((_measurement(row), row.provenance.get("installation")), []).append(row)
    return [
        row
        for found in members.values()
        for place, row in enumerate(found)
        if sweep_of(row) in (None, *gone)
        and any(
            later.status == "ok" or (row.status != "ok" and later.status != "interrupted")
            for later in found[place + 1 :]
        )
    ]


def mark(status: str) -> str:
    """What a table shows in place of a number for a row that has none."""
    return MARKS.get(status, FAILED_MARK)


def group(rows: Iterable[Row], key: Callable[[Row], tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """Rows by `key` (JSON values), the groups in an order that depends on the keys only."""
    groups: dict[str, tuple[tuple[Any, ...], list[Row]]] = {}
    for row in rows:
        values = key(row)
        groups.setdefault(canonical_json(values), (values, []))[1].append(row)
    return [groups[text] for text in sorted(groups)]


def split_series(rows: Sequence[Row], *, varying: Collection[str], shown: Collection[str] = ()) -> list[Series]:
    """Split rows into series, so that no two different measurements ever share a label.

    Args:
        rows: The rows of one table or panel.
        varying: Parameters that change along a series (resolution, seed).
        shown: Parameters that a reader sees elsewhere, in a column of their own: not repeated in the label.
    """

    def fixed(row: Row) -> dict[str, Any]:
        return {name: value for name, value in row.cell.params.items() if name not in varying}

    members = [found for _, found in group(rows, lambda row: (row.cell.backbone, fixed(row)))]
    cells = [found[0].cell for found in members]
    telling = _telling_names(cells, {name for cell in cells for name in cell.params} - {*varying, *shown}, shown)
    series = []
    for found in members:
        first = found[0].cell
        facts = [f"{name}={_brief(first.params[name])}" for name in telling if first.params.get(name) is not None]
        label = f"{first.backbone} ({', '.join(facts)})" if facts else first.backbone
        series.append(Series(first.backbone, label, tuple(found)))
    return series


def _telling_names(cells: Sequence[Cell], names: Collection[str], shown: Collection[str]) -> list[str]:
    """The parameters that tell the cells apart.

    Those with two values; and where a backbone's cells would look alike still, those that only some of them have.
    Digests, which say nothing to a reader, only where words are not enough.
    """

    def values(name: str, among: Sequence[Cell]) -> set[str]:
        return {canonical_json(cell.params[name]) for cell in among if name in cell.params}

    def looks(cell: Cell, by: Collection[str]) -> str:
        return canonical_json([cell.backbone, *(cell.params.get(name) for name in sorted({*by, *shown}))])

    telling = {name for name in names if len(values(name, cells)) > 1}
    seen = Counter(looks(cell, telling) for cell in cells)
    alike = [cell for cell in cells if seen[looks(cell, telling)] > 1]
    telling |= {name for name in names if 0 < sum(name in cell.params for cell in alike) < len(alike)}
    words = {name for name in telling if not name.endswith(_DIGESTS)}
    if len({looks(cell, words) for cell in cells}) == len({looks(cell, telling) for cell in cells}):
        telling = words
    return sorted(telling)


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    if len(text) <= 16:
        return text
    return text[:8] if isinstance(value, str) and text.isalnum() else hashlib.sha256(text.encode()).hexdigest()[:8]
