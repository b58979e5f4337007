"""Tables without what is published."""

from __future__ import annotations

from dataclasses import replace

from .tables import Table, legend

PUBLISHED_COLUMNS = ("paper", "delta", "in the paper")
"""Names of columns that hold published numbers or are computed with them."""


def without_published(table: Table) -> Table | None:
    """What of a table was measured: no published columns, lines and notes; None where nothing is left."""
    lines = list(range(len(table.cells)))
    if "status" in table.frame:
        lines = [line for line in lines if table.frame["status"].notna().iloc[line]]
    if not lines:
        return None
    columns = [index for index, (_, name) in enumerate(table.columns) if name not in PUBLISHED_COLUMNS]
    cells = tuple(tuple(table.cells[line][index] for index in columns) for line in lines)
    sources = tuple(tuple(table.sources[line][index] for index in columns) for line in lines) if table.sources else ()
    kept = [name for name in table.frame if not str(name).endswith(("_paper", "_delta")) and name != "paper_label"]
    old_marks = legend(table.cells)
    return replace(
        table,
        columns=tuple(table.columns[index] for index in columns),
        cells=cells,
        frame=table.frame.loc[lines, kept].reset_index(drop=True),
        notes=(*legend(cells), *(note for note in table.notes if note not in old_marks)),
        sources=sources,
        paper_notes=(),
    )
