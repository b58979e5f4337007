"""All tables and figures that the stored rows allow, and nothing that they do not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ...errors import UsageError
from ..drawing.boundary import boundary_figure
from ..drawing.curves import learning_curves
from ..drawing.figure1 import figure1
from ..drawing.figure3 import figure3
from ..drawing.kernels import kernels_figure
from ..drawing.memory import memory_figure
from ..drawing.throughput import throughput_figure
from ..gallery.figure4 import figure4
from ..gallery.tiles import TILES
from ..schema import Row
from ..series import current
from ..store import Store
from ..tabling.kernels import kernel_tables
from ..tabling.latency import latency_tables
from ..tabling.measured_only import without_published
from ..tabling.table1 import table1
from ..tabling.table2 import table2
from ..tabling.table3 import table3
from ..tabling.table4 import table4
from ..tabling.table5 import table5
from ..tabling.table6 import table6
from ..tabling.table7 import table7
from ..tabling.tables import Table, write_tables
from .guard import build_without_faulty
from .mixing import mix_devices

Draw = Callable[[Sequence[Row], Path], list[Path]]

TABLES: Mapping[str, Callable[[Sequence[Row]], list[Table]]] = {
    "1": table1,
    "2": table2,
    "3": table3,
    "4": table4,
    "5": table5,
    "6": table6,
    "7": table7,
    "latency": latency_tables,
    "kernels": kernel_tables,
}
"""Tables by name: the paper's number, or the suite where the paper has none."""


@dataclass(frozen=True)
class ReportOptions:
    """How a report is made.

    Attributes:
        published: With the published numbers, and what they differ by from the measured ones.
        mix_devices: Let rows of different devices stand in one table or panel, each told by a number.
    """

    published: bool = True
    mix_devices: bool = False


@dataclass
class Report:
    """What was made.

    Attributes:
        rows: The rows of which everything was made, the newest and what `series.current` keeps with them.
        tables: By name.
        paths: The files written, tables first.
        problems: A line for each file and row that was left out.
        missing: Tables and figures without rows; `what_to_run` tells how to measure them.
    """

    rows: list[Row]
    tables: dict[str, list[Table]] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """Every table that `rows` allow."""
    return [table for build in TABLES.values() for table in build(rows)]


def figures(tiles: Path, options: ReportOptions) -> dict[str, Draw]:
    """What draws each figure, by its number in the paper or its name.

    Args:
        tiles: Folder of the pictures that rows name.
        options: With the published numbers, or without.
    """
    return {
        "1": partial(figure1, published=options.published),
        "3": partial(figure3, published=options.published),
        "4": partial(figure4, tiles=tiles),
        "throughput": throughput_figure,
        "memory": memory_figure,
        "boundary": boundary_figure,
        "kernels": kernels_figure,
        "curves": learning_curves,
    }


def make_report(
    store: Store, out_dir: Path, options: ReportOptions | None = None, *, only: str | None = None
) -> Report:
    """Write `tables/` and `figures/` under `out_dir` from the newest rows and the published numbers.

    The same rows give the same tables, byte for byte, and the same pictures on one machine. A table or figure without
    rows is not written. Files that are no rows are named and left out, rows that lack what their suite's have likewise.

    Args:
        store: Where rows are.
        out_dir: Where the report goes.
        options: How; the defaults where None.
        only: Name of the one table to write, without figures; None for everything.

    Raises:
        UsageError: No such table.
        StoreError: `out_dir` cannot be written.
    """
    options = options or ReportOptions()
    if only is not None and only not in TABLES:
        raise UsageError(f"there is no table '{only}'; expected one of {', '.join(TABLES)}")
    found, problems = store.scan()
    rows = current(found)
    report = Report(mix_devices(rows) if options.mix_devices else rows, problems=list(problems))
    for name in TABLES if only is None else (only,):
        _add_table(report, name, out_dir, options)
    for name, draw in figures(store.root / TILES, options).items() if only is None else ():
        what = f"figure {name}"
        paths, faults = build_without_faulty(partial(_drawn, draw, out_dir / "figures"), report.rows, what)
        report.problems += faults
        report.paths += paths
        if not paths:
            report.missing.append(what)
    report.problems = list(dict.fromkeys(report.problems))
    return report


def write_report(store: Store, out_dir: Path) -> list[Path]:
    """Write the whole report and return its files; see `make_report`. What is left out is told in warnings."""
    report = make_report(store, out_dir)
    for problem in report.problems:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    return report.paths


def _add_table(report: Report, name: str, out_dir: Path, options: ReportOptions) -> None:
    what = f"table {name}"
    tables, faults = build_without_faulty(TABLES[name], report.rows, what)
    report.problems += faults
    if not options.published:
        tables = [kept for table in tables if (kept := without_published(table))]
    if tables:
        stem = f"table{name}" if name.isdecimal() else name
        report.tables[name] = tables
        report.paths += write_tables(tables, out_dir / "tables", stem)
    else:
        report.missing.append(what)


def _drawn(draw: Draw, folder: Path, rows: Sequence[Row]) -> list[Path]:
    return draw(rows, folder)
