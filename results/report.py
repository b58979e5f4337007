"""All tables and figures that the stored rows allow, and nothing that they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import UsageError
from .kernels_figure import kernels_figure
from .kernels_table import kernel_tables
from .latency_table import latency_tables
from .plots import figure3, learning_curves
from .schema import Row
from .store import Store
from .table3 import table3
from .tables import Table, write_tables

TABLES: Mapping[str, Callable[[Sequence[Row]], list[Table]]] = {
    "3": table3,
    "latency": latency_tables,
    "kernels": kernel_tables,
}
"""Tables by name: the paper's number, or the suite where the paper has none."""


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """Every table that `rows` allow."""
    return [table for build in TABLES.values() for table in build(rows)]


def write_report(store: Store, out_dir: Path) -> list[Path]:
    """Write `tables/` and `figures/` under `out_dir` from the newest rows and the published numbers.

    The same rows give the same bytes. A table or figure without rows is not written; unreadable files of the store
    are named in warnings.

    Returns:
        The files written, tables first.

    Raises:
        StoreError: `out_dir` cannot be written.
    """
    rows = store.latest()
    paths = []
    for name, build in TABLES.items():
        paths += _written(build(rows), name, out_dir)
    figures = out_dir / "figures"
    return [*paths, *figure3(rows, figures), *kernels_figure(rows, figures), *learning_curves(rows, figures)]


def write_table(store: Store, out_dir: Path, name: str) -> tuple[list[Table], list[Path]]:
    """Write one table under `out_dir/tables`, as `write_report` does.

    Returns:
        Its parts and the files written; neither where no row belongs to it.

    Raises:
        UsageError: No such table.
        StoreError: `out_dir` cannot be written.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table '{name}'; expected one of {', '.join(TABLES)}")
    tables = TABLES[name](store.latest())
    return tables, _written(tables, name, out_dir)


def _written(tables: list[Table], name: str, out_dir: Path) -> list[Path]:
    stem = f"table{name}" if name.isdecimal() else name
    return write_tables(tables, out_dir / "tables", stem) if tables else []
