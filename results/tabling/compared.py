"""Tables whose lines stand in a paper: each number published, measured, and the difference where it means something."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..published import PublishedRow, PublishedTable
from ..schema import Row
from ..series import NUMBERED, mark
from .best import Goal
from .tables import Source, Table, legend

if TYPE_CHECKING:
    import pandas as pd

Format = Callable[[float], str]


@dataclass(frozen=True)
class Entry:
    """One metric of one line: rows that differ in the seed only.

    Attributes:
        rows: Where it is from.
        metric: Its name in them.
        scale: What its value is multiplied by.
        inverse: Show `scale` over the value: frames per second of a latency.
    """

    rows: tuple[Row, ...]
    metric: str
    scale: float = 1.0
    inverse: bool = False

    @property
    def values(self) -> list[float]:
        """Of the rows that carry the number."""
        found = [row.metrics.get(self.metric) for row in self.rows if row.status in NUMBERED]
        return [self.scale / value if self.inverse else self.scale * value for value in found if value is not None]

    @property
    def mean(self) -> float | None:
        """Over the rows."""
        values = self.values
        return statistics.fmean(values) if values else None

    def text(self, show: Format) -> str:
        """The mean and its standard deviation, a mark where there is no number, a dagger where one is unstable."""
        values = self.values
        if not values:
            failed = [row for row in self.rows if row.status not in NUMBERED]
            return mark(failed[-1].status) if failed else "-"
        spread = f"±{statistics.stdev(values):.1f}" if len(values) > 1 else ""
        unstable = any(row.status == "unstable" for row in self.rows)
        return show(statistics.fmean(values)) + spread + ("†" if unstable else "")


NOTHING = Entry((), "")


@dataclass(frozen=True)
class ComparedLine:
    """A line of the table.

    Attributes:
        label: Its name here.
        published: The paper's line, where it has one.
        entries: What was measured, by the name of the published column.
        extra: More for the frame.
    """

    label: str
    published: PublishedRow | None
    entries: Mapping[str, Entry]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, name: str) -> Entry:
        """What was measured for a column; nothing where it was not."""
        return self.entries.get(name, NOTHING)

    def paper(self, name: str) -> float | None:
        """The published number of a column."""
        return self.published.values.get(name) if self.published else None

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that it is made of, each once."""
        rows = [row for entry in self.entries.values() for row in entry.rows]
        return tuple({id(row): row for row in rows}.values())


@dataclass(frozen=True)
class Compared:
    """A number that a paper prints.

    Attributes:
        name: Of the published column.
        group: Head of its columns.
        show: How it is printed.
        goal: Whether the highest or the lowest is best; None for neither.
        comparable: Whether measured and published are of the same, so that their difference says something.
        relative: Show besides what the line has over the first one: `ratio`, `difference` or nothing.
    """

    name: str
    group: str
    show: Format
    goal: Goal | None = None
    comparable: bool = False
    relative: str = ""


@dataclass(frozen=True)
class Plain:
    """A column that no paper has, text by line."""

    group: str
    name: str
    text: Callable[[ComparedLine], str]
    rows: Callable[[ComparedLine], tuple[Row, ...]] = lambda line: ()


@dataclass(frozen=True)
class _Column:
    head: tuple[str, str]
    text: Callable[[ComparedLine], str]
    sources: Callable[[ComparedLine], tuple[Source, ...]]


def compared_table(
    title: str,
    caption: str,
    lines: Sequence[ComparedLine],
    columns: Sequence[Compared | Plain],
    table: PublishedTable,
    *,
    notes: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> Table:
    """Lay out the lines.

    Args:
        title: One line.
        caption: Data, device and settings.
        lines: In their order; the first is what relative columns refer to.
        columns: After the line's label and its name in the paper.
        table: The published one.
        notes: What a reader must know of the measurement.
        record: What every line of the frame says besides.
    """
    shown = [*_names(), *(one for column in columns for one in _columns(column, lines[0], table))]
    cells = tuple(tuple(column.text(line) for column in shown) for line in lines)
    failed = [f"{line.label}: {row.status}: {row.error}" for line in lines for row in line.rows if row.error]
    quoted = [line.published for line in lines if line.published]
    missing = [line.published for line in lines if line.published and not line.rows]
    unmeasured = [f"{row.label}: not measured here; `{row.run}` does it." for row in missing if row.run]
    caveats = [f"Paper: {caveat}" for caveat in table.caveats]
    caveats += [f"{row.label}: {caveat}" for row in quoted for caveat in row.caveats]
    return Table(
        title,
        caption,
        tuple(column.head for column in shown),
        cells,
        _frame(lines, [column for column in columns if isinstance(column, Compared)], record or {}),
        (*legend(cells), *dict.fromkeys([*failed, *unmeasured, *notes])),
        tuple(tuple(column.sources(line) for column in shown) for line in lines),
        {(one.group, "measured"): one.goal for one in columns if isinstance(one, Compared) and one.goal},
        (f"Paper: {table.paper.title}, arXiv {table.paper.arxiv}, {table.source}.", *caveats),
    )


def _names() -> list[_Column]:
    def in_paper(line: ComparedLine) -> str:
        return line.published.label if line.published else "-"

    return [
        _Column(("", "name"), lambda line: line.label, lambda _: ()),
        _Column(("", "in the paper"), in_paper, lambda _: ()),
    ]


def _columns(column: Compared | Plain, first: ComparedLine, table: PublishedTable) -> list[_Column]:
    if isinstance(column, Plain):
        return [_Column((column.group, column.name), column.text, column.rows)]
    name, show = column.name, column.show

    def cited(line: ComparedLine) -> tuple[Source, ...]:
        return (table.cite(line.published),) if line.published and line.paper(name) is not None else ()

    def measured(line: ComparedLine) -> tuple[Source, ...]:
        return line.entry(name).rows

    def signed(value: float | None) -> str:
        if value is None:
            return "-"
        text = show(abs(value))
        return (("+" if value > 0 else "-") if any(digit in text for digit in "123456789") else "") + text

    def paper(line: ComparedLine) -> str:
        value = line.paper(name)
        return "-" if value is None else show(value)

    found = [
        _Column((column.group, "paper"), paper, cited),
        _Column((column.group, "measured"), lambda line: line.entry(name).text(show), measured),
        _Column(
            (column.group, "delta"),
            lambda line: signed(_delta(column, line)),
            lambda line: (*cited(line), *measured(line)),
        ),
    ]
    if column.relative:
        word = f"over {first.label}"

        def relative(line: ComparedLine) -> str:
            return _relative(column.relative, line.entry(name).mean, first.entry(name).mean)

        def in_paper(line: ComparedLine) -> str:
            return _relative(column.relative, line.paper(name), first.paper(name))

        found += [
            _Column((f"{column.group} {word}", "paper"), in_paper, cited),
            _Column((f"{column.group} {word}", "measured"), relative, measured),
        ]
    return found


def _relative(kind: str, value: float | None, base: float | None) -> str:
    if value is None or base is None or (kind == "ratio" and not base):
        return "-"
    return f"{value / base:.2f}" if kind == "ratio" else f"{value - base:+.1f}"


def _delta(column: Compared, line: ComparedLine) -> float | None:
    ours, theirs = line.entry(column.name).mean, line.paper(column.name)
    return ours - theirs if column.comparable and ours is not None and theirs is not None else None


def _frame(lines: Sequence[ComparedLine], columns: Sequence[Compared], shared: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    records = []
    for line in lines:
        numbers: dict[str, float | None] = {}
        for column in columns:
            numbers[column.name] = line.entry(column.name).mean
            numbers[f"{column.name}_paper"] = line.paper(column.name)
            numbers[f"{column.name}_delta"] = _delta(column, line)
        names = {"label": line.label, "paper_label": line.published.label if line.published else None}
        status = " ".join(dict.fromkeys(row.status for row in line.rows)) or None
        records.append({**shared, **names, "status": status, **line.extra, **numbers})
    return pd.DataFrame(records, dtype=object)
