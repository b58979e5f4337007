"""The paper's Table 2: images and masks of the training sets, published beside counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..published import PublishedTable, load_published
from ..schema import Row
from ..series import NUMBERED, group, mark, newest
from ..words import counted
from .compared import Compared, ComparedLine, Entry, Plain, compared_table
from .tables import Table

SUITE = "data-stats"
_DATA = {
    "demo": "demo data: procedurally drawn in the real sets' layouts, so no difference is given",
    "real": "the real sets found below the data root",
}


def table2(rows: Sequence[Row]) -> list[Table]:
    """One table for each kind of data among the rows of suite `data-stats`; of each set the newest row.

    A set of the paper that was not counted keeps its line.
    """
    counted = [row for row in newest(rows) if row.cell.suite == SUITE]
    return [_table(kind, found) for (kind,), found in group(counted, lambda row: (row.cell.params.get("data"),))]


def _table(kind: str, rows: Sequence[Row]) -> Table:
    published = load_published()["table2"]
    by_name = {row.cell.backbone: row for row in sorted(rows, key=_preferred)}
    lines = _lines(by_name, published)
    comparable = kind == "real"
    columns: list[Compared | Plain] = [
        Compared("images", "images", _whole, comparable=comparable),
        _read("images", "images"),
        Compared("masks", "masks", _whole, comparable=comparable),
        _read("masks", "masks"),
        *(Plain("masks annotated", name, _part(name), _rows) for name in ("things", "stuff", "crowds")),
    ]
    limits = sorted({row.cell.params["limit"] for row in by_name.values() if row.cell.params.get("limit")})
    notes = [
        "measured: all that the annotation files list, as the paper counts.",
        "read: what LinBench's reader gives to a training: of COCONut things alone, no crowds, from 32 pixels on; "
        "images that cannot be used are left out.",
        *(
            f"{row.cell.params['title']}: fingerprint {row.cell.params['fingerprint']}."
            for row in by_name.values()
            if row.cell.params.get("fingerprint")
        ),
        *(problem for row in by_name.values() for problem in row.provenance.get("run", {}).get("problems", ())),
    ]
    told = [
        f"Data: {_DATA.get(kind, kind)}",
        *([f"Read: the first {counted(limits[0], 'image')} of a set"] if limits else []),
    ]
    caption = ". ".join(told) + ". Counting depends on no device."
    return compared_table(
        "Training sets: images and masks", caption, lines, columns, published, notes=notes, record={"data": kind}
    )


def _preferred(row: Row) -> tuple[bool, str]:
    return row.cell.params.get("limit") is None and row.status in NUMBERED, row.created_utc


def _lines(rows: dict[str, Row], published: PublishedTable) -> list[ComparedLine]:
    lines = []
    for printed in published.rows:
        name = next((name for name in printed.names if name in rows), None)
        entries = _entries(rows[name]) if name else {}
        lines.append(ComparedLine(name.partition(":")[2] if name else printed.label, printed, entries))
    taken = {name for row in published.rows for name in row.names}
    rest = sorted(name for name in rows if name not in taken)
    return lines + [ComparedLine(name.partition(":")[2], None, _entries(rows[name])) for name in rest]


def _entries(row: Row) -> dict[str, Entry]:
    return {name: Entry((row,), f"annotated_{name}") for name in ("images", "masks")}


def _rows(line: ComparedLine) -> tuple[Row, ...]:
    return line.entry("images").rows


def _read(group_name: str, metric: str) -> Plain:
    return Plain(group_name, "read", _part(metric), _rows)


def _part(metric: str) -> Callable[[ComparedLine], str]:
    def text(line: ComparedLine) -> str:
        rows = _rows(line)
        if not rows:
            return "-"
        value = rows[0].metrics.get(metric)
        return mark(rows[0].status) if rows[0].status not in NUMBERED else "-" if value is None else _whole(value)

    return text


def _whole(value: float) -> str:
    return f"{value:,.0f}"
