"""A table and its three forms: Markdown to read, LaTeX to paste, CSV to compute with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from .files import write_atomic
from .series import MARK_MEANINGS

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"$^\dagger$",
    "±": r"\,$\pm$\,",
}


@dataclass(frozen=True)
class Table:
    """One table: text for readers, a frame of numbers for machines.

    Attributes:
        title: One line.
        caption: Data, device and settings that every cell shares.
        columns: `(group, name)` of each column; columns of one group stand side by side, `""` is no group.
        cells: Text of each cell, row by row.
        frame: The same rows as numbers, with everything that names them in columns of their own.
        notes: What a reader must know, a sentence each.
    """

    title: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    cells: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


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
    head = [f"{group} {name}".strip() for group, name in table.columns]
    lines = [[text.replace("|", r"\|") for text in line] for line in [head, *table.cells]]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(head))]
    aligned = [
        "| "
        + " | ".join([line[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(line[1:], widths[1:], strict=True))])
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 1) + (":" if index else "-") for index, width in enumerate(widths)) + "|"
    notes = "".join(f"\n- {note}" for note in table.notes)
    return "\n".join([f"## {table.title}", "", table.caption, "", aligned[0], rule, *aligned[1:], notes, ""])


def to_latex(tables: Sequence[Table]) -> str:
    """`table*` environments for a document that loads booktabs and graphicx (which scales them to the text's width)."""
    return "% \\usepackage{booktabs,graphicx}\n" + "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    spans = [(name, len(list(found))) for name, found in groupby(group for group, _ in table.columns)]
    top, rules, start = [], [], 1
    for name, span in spans:
        top.extend([rf"\multicolumn{{{span}}}{{c}}{{{latex_escape(name)}}}"] if name else [""] * span)
        rules.extend([rf"\cmidrule(lr){{{start}-{start + span - 1}}}"] if name else [])
        start += span
    header = [" & ".join(top) + r" \\", "".join(rules)] if rules else []
    body = [[name for _, name in table.columns], *table.cells]
    lines = [" & ".join(latex_escape(text) for text in line) + r" \\" for line in body]
    caption = latex_escape(f"{table.title}. {table.caption}")
    notes = " ".join(latex_escape(note) for note in table.notes)
    return "\n".join(
        [
            r"\begin{table*}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            *header,
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            *([rf"\par\smallskip\parbox{{\textwidth}}{{\footnotesize {notes}}}"] if notes else []),
            r"\end{table*}",
            "",
        ]
    )


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


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
