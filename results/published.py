"""Published numbers as data: `published.toml`, typed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PUBLISHED_FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class Paper:
    """A publication that numbers are quoted from."""

    title: str
    arxiv: str
    year: int


@dataclass(frozen=True)
class PublishedRow:
    """One printed row.

    Attributes:
        label: The row's name as printed.
        names: LinBench's names for the same model.
        values: Printed numbers by column (`params_m` in millions, `fps`, `<dataset>/miou` in percent, ...); a column
            without a printed number is left out.
        caveats: What a reader must know before comparing with this row.
        run: The command that measures the same; empty where none does.
    """

    label: str
    names: tuple[str, ...]
    values: Mapping[str, float]
    caveats: tuple[str, ...] = ()
    run: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """One printed table, or the numbers that a paper's text gives for a figure.

    Attributes:
        paper: Where it was published.
        source: The place in the paper.
        title: Its caption, shortened.
        columns: Header as printed, by column.
        rows: In the printed order.
        caveats: What holds for every row.
        page: Page of the arXiv version, where known.
        device: Device of the printed speeds.
        resolution: Input size of the printed speeds, or of the one evaluation, in pixels.
        dataset: What the printed scores are on.
    """

    paper: Paper
    source: str
    title: str
    columns: Mapping[str, str]
    rows: tuple[PublishedRow, ...]
    caveats: tuple[str, ...] = ()
    page: int | None = None
    device: str | None = None
    resolution: int | None = None
    dataset: str | None = None

    def row(self, name: str) -> PublishedRow | None:
        """The printed row of the model that LinBench calls `name`."""
        return next((row for row in self.rows if name in row.names), None)

    def cite(self, row: PublishedRow) -> str:
        """Where the numbers of one of its rows are printed."""
        return f"{self.paper.title}, arXiv {self.paper.arxiv}, {self.source}, row {row.label}"


@lru_cache(maxsize=1)
def load_published() -> Mapping[str, PublishedTable]:
    """Every published table by its id (`table1`, `table6-decoder`, `figure3`, `hq-sam`).

    Raises:
        ValueError: The file is inconsistent: a value in a column that its table does not have, a name used twice.
    """
    data = tomllib.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))
    papers = {key: Paper(**entry) for key, entry in data["papers"].items()}
    return {key: _table(key, entry, papers) for key, entry in data["tables"].items()}


def _table(key: str, entry: Mapping[str, Any], papers: Mapping[str, Paper]) -> PublishedTable:
    rows = tuple(
        PublishedRow(
            row["label"], tuple(row["names"]), row["values"], tuple(row.get("caveats", ())), row.get("run", "")
        )
        for row in entry["rows"]
    )
    names = [name for row in rows for name in row.names]
    unknown = {column for row in rows for column in row.values} - set(entry["columns"])
    if unknown or len(names) != len(set(names)):
        raise ValueError(f"{PUBLISHED_FILE.name}: {key} has unknown columns {sorted(unknown)} or a name twice: {names}")
    optional = ("source", "title", "columns", "page", "device", "resolution", "dataset")
    rest = {name: entry[name] for name in optional if name in entry}
    return PublishedTable(paper=papers[entry["paper"]], rows=rows, caveats=tuple(entry.get("caveats", ())), **rest)
