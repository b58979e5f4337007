"""Tables as LaTeX: booktabs rules, every character printed as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from .best import emphasised

if TYPE_CHECKING:
    from .tables import Table

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
    "\u00d7": r"$\times$",
    "µ": r"$\mu$",
    "\u2212": "$-$",
    "\u2013": "--",
    "—": "---",
    "\u2019": "'",
    "…": r"\ldots{}",
    "→": r"$\to$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": r"$^2$",
}
_LAST_OF_LATIN = "\u017f"


def to_latex(tables: Sequence[Table]) -> str:
    """`table*` environments for a document that loads booktabs and graphicx, which scales down what is too wide."""
    return "% \\usepackage{booktabs,graphicx}\n" + "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    spans = [(name, len(list(found))) for name, found in groupby(group for group, _ in table.columns)]
    top, rules, start = [], [], 1
    for name, span in spans:
        top.extend([rf"\multicolumn{{{span}}}{{c}}{{{latex_escape(name)}}}"] if name else [""] * span)
        rules.extend([rf"\cmidrule(lr){{{start}-{start + span - 1}}}"] if name else [])
        start += span
    header = [" & ".join(top) + r" \\", "".join(rules)] if rules else []
    shown = emphasised(table.columns, table.cells, table.goals, plain=latex_escape, bold=r"\textbf{{{}}}".format)
    body = [[latex_escape(name) for _, name in table.columns], *shown]
    lines = [_after_line_end(" & ".join(line)) + r" \\" for line in body]
    caption = latex_escape(f"{table.title}. {table.caption}")
    notes = " ".join(latex_escape(note) for note in (*table.notes, *table.paper_notes))
    return "\n".join(
        [
            r"\begin{table*}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
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


def _after_line_end(line: str) -> str:
    # A star or bracket after the end of the line before would be read as an option of that end.
    return "{}" + line if line.startswith(("[", "*")) else line


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it stands; characters that its default fonts lack are named by their number."""
    escaped = "".join(
        _LATEX.get(character) or (character if character <= _LAST_OF_LATIN else f"[U+{ord(character):04X}]")
        for character in one_line(text)
    )
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def one_line(text: str) -> str:
    """The text without line breaks and repeated spaces."""
    return " ".join(text.split())
