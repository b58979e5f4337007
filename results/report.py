"""All tables and figures that the stored rows allow, and nothing that they do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .kernels_figure import kernels_figure
from .kernels_table import kernel_tables
from .latency_table import latency_tables
from .plots import figure3, learning_curves
from .schema import Row
from .store import Store
from .table3 import table3
from .tables import Table, write_tables


def tables_of(rows: Sequence[Row]) -> list[Table]:
    """Every table that `rows` allow."""
    return [*table3(rows), *latency_tables(rows), *kernel_tables(rows)]


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
    found = {"table3": table3(rows), "latency": latency_tables(rows), "kernels": kernel_tables(rows)}
    for stem, tables in found.items():
        paths += write_tables(tables, out_dir / "tables", stem) if tables else []
    figures = out_dir / "figures"
    return [*paths, *figure3(rows, figures), *kernels_figure(rows, figures), *learning_curves(rows, figures)]
