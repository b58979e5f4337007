"""A table and its three forms: Markdown to read, LaTeX to paste, CSV to compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import StoreError
from ..files import write_atomic
from ..schema import Row
from ..series import MARK_MEANINGS
from .best import Goal, emphasised
from .latex import one_line, to_latex

if TYPE_CHECKING:
    import pandas as pd

Source = Row | str
LineSources = tuple[tuple[Source, ...], ...]


@dataclass(frozen=True)
class Table:
    """One table: text for readers, a frame of numbers for machines.

    Attributes:
        title: One line.
        caption: Data, device and settings that every cell shares.
        columns: `(group, name)` of each column; columns of one group stand side by side, `""` is no group.
        cells: Text of each cell, row by row.
        frame: The same rows as numbers, with everything that names them in columns of their own. An empty `status`
            is a line that only the paper has; names ending in `_paper` and `_delta` hold published numbers and what is
            computed with them.
        notes: What a reader must know, a sentence each.
        sources: What each cell was made of, shaped as `cells`: rows, and citations of published numbers; nothing for a
            name. Empty where a table does not tell; the report page shows them.
        goals: The columns whose best number is printed in bold, and whether that is the highest or the lowest.
        paper_notes: Notes on the published numbers only.
    """

    title: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    cells: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    sources: tuple[LineSources, ...] = ()
    goals: Mapping[tuple[str, str], Goal] = field(default_factory=dict)
    paper_notes: tuple[str, ...] = ()


def sources_of(line: Sequence[str], rows: Sequence[Source], *, names: int = 1) -> LineSources:
    """The sources of a line that is made of `rows` alone, but for its first `names` cells."""
    return tuple(() if index < names else tuple(rows) for index in range(len(line)))


def legend(cells: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The meanings of the marks that occur in `cells`, as one note."""
    texts = [text for row in cells for text in row]
    used = [
        f"{mark}: {meaning}"
        for mark, meaning in MARK_MEANINGS.items()
        if any(text == mark or (mark == "†" and mark in text) for text in texts)
    ]
    return ("; ".join(used) + ".",) if used else ()


def to_markdown(tables: Sequence[Table]) -> str:
    """Pipe tables with aligned columns, one section each."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    head = [_pipe_safe(f"{group} {name}".strip()) for group, name in table.columns]
    lines = [head, *emphasised(table.columns, table.cells, table.goals, plain=_pipe_safe, bold="**{}**".format)]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(head))]
    aligned = [
        "| "
        + " | ".join([line[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(line[1:], widths[1:], strict=True))])
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if index else "-") for index, width in enumerate(widths)) + "|"
    notes = "".join(f"\n- {one_line(note)}" for note in (*table.notes, *table.paper_notes))
    return "\n".join([f"## {table.title}", "", table.caption, "", aligned[0], rule, *aligned[1:], notes, ""])


def _pipe_safe(text: str) -> str:
    return one_line(text).replace("|", r"\|")


def to_csv(tables: Sequence[Table]) -> str:
    """The frames under one header: a line for each table line, an empty field where there is no number."""
    import pandas as pd

    if not tables:
        return ""
    columns = list(dict.fromkeys(column for table in tables for column in table.frame.columns))
    records = [record for table in tables for record in table.frame.astype(object).to_dict("records")]
    return str(pd.DataFrame(records, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n"))


def write_tables(tables: Sequence[Table], folder: Path, stem: str) -> list[Path]:
    """Write `<stem>.md`, `.csv` and `.tex` into `folder`; equal tables give equal bytes.

    Raises:
        StoreError: The folder cannot be written.
    """
    forms = {"md": to_markdown(tables), "csv": to_csv(tables), "tex": to_latex(tables)}
    paths = []
    for suffix, text in forms.items():
        path = folder / f"{stem}.{suffix}"
        try:
            write_atomic(path, text.encode(), overwrite=True)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; give a writable folder") from error
        paths.append(path)
    return paths
