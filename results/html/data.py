"""Everything the page shows, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..reporting.guard import build_without_faulty
from ..schema import STATUSES, Row
from ..tabling.best import best_parts
from ..tabling.tables import LineSources, Table
from .charts import latency_charts, name_points
from .metrics import metric_label
from .places import Places
from .provenance import ProvenanceList, row_record


def page_data(rows: Sequence[Row], tables: Sequence[Table], problems: Sequence[str]) -> dict[str, Any]:
    """The page's data without its pictures.

    Args:
        rows: The newest rows.
        tables: Made of these very row objects.
        problems: What was left out, a line each.
    """
    provenances, places = ProvenanceList(), Places(rows)
    named = zip(rows, name_points(rows), strict=True)
    records = [row_record(row, provenances) | name._asdict() for row, name in named]
    metrics = sorted({name for row in rows for name in row.metrics})
    latency, faults = build_without_faulty(partial(latency_charts, places=places), rows, "the latency chart")
    return {
        "rows": records,
        "provenances": provenances.entries,
        "tables": [_table(table, places) for table in tables],
        "latency": latency,
        "metrics": {name: metric_label(name) for name in metrics},
        "statuses": list(STATUSES),
        "problems": list(dict.fromkeys([*problems, *faults])),
    }


def _table(table: Table, places: Places) -> dict[str, Any]:
    sets: dict[tuple[int | str, ...], int] = {}

    def place(sources: LineSources) -> list[int]:
        told = [tuple(one if isinstance(one, str) else places.of(one) for one in cell) for cell in sources]
        return [sets.setdefault(cell, len(sets)) if cell else -1 for cell in told]

    return {
        "title": table.title,
        "caption": table.caption,
        "notes": [*table.notes, *table.paper_notes],
        "columns": [list(column) for column in table.columns],
        "cells": [list(line) for line in table.cells],
        "best": _best(table),
        "sources": [place(line) for line in table.sources],
        "sets": [list(found) for found in sets],
    }


def _best(table: Table) -> list[list[int]]:
    """`[line, column, part]` of what is printed in bold, the part counted between slashes."""
    return [
        [line, index, part]
        for index, column in enumerate(table.columns)
        if column in table.goals
        for line, parts in enumerate(best_parts([cells[index] for cells in table.cells], table.goals[column]))
        for part in sorted(parts)
    ]
