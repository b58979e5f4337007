"""One line of an accuracy table: a published row, the measurements of that system, or both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..published import PublishedRow, PublishedTable
from ..schema import Row
from ..series import NUMBERED, Series, mark

STAGES = ("before", "weights-only", "trained")


@dataclass(frozen=True)
class Line:
    """A published row beside a series whose rows differ in the seed only; either may be missing."""

    published: PublishedRow | None
    series: Series | None

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.series.rows if self.series else ()

    @property
    def numbered(self) -> list[Row]:
        """The rows that carry numbers."""
        return [row for row in self.rows if row.status in NUMBERED]

    def param(self, name: str) -> Any:
        return self.series.param(name) if self.series else None

    def paper(self, column: str) -> float | None:
        return self.published.values.get(column) if self.published else None

    def mean(self, metric: str) -> float | None:
        """Mean over seeds."""
        values = self._values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over seeds; None for a single one."""
        values = self._values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def delta(self, metric: str) -> float | None:
        """Measured minus published."""
        ours, theirs = self.mean(metric), self.paper(metric)
        return None if ours is None or theirs is None else ours - theirs

    def seeds(self) -> str:
        """The seeds, each that gave no number with its mark."""
        found = sorted((row for row in self.rows if row.cell.params.get("seed") is not None), key=_seed_order)
        marks = ["" if row.status in NUMBERED else f" {mark(row.status)}" for row in found]
        return ", ".join(f"{row.cell.params['seed']}{text}" for row, text in zip(found, marks, strict=True)) or "-"

    def measured(self, metrics: Sequence[str]) -> str:
        """The means (±standard deviation), a mark where there is no number, a dagger where one is unstable."""
        if not self.numbered:
            return mark(self.rows[-1].status) if self.rows else "-"
        deviations = [self.deviation(metric) for metric in metrics]
        spreads = ["" if deviation is None else f"±{deviation:.1f}" for deviation in deviations]
        text = pair([number(self.mean(metric)) + spread for metric, spread in zip(metrics, spreads, strict=True)])
        return text + ("†" if any(row.status == "unstable" for row in self.numbered) else "")

    def _values(self, metric: str) -> list[float]:
        found = [row.metrics.get(metric) for row in self.numbered]
        return [value for value in found if value is not None]


def number(value: float | None, sign: str = "") -> str:
    """One decimal, as the paper prints; a dash for none."""
    return "-" if value is None else f"{value:{sign}.1f}"


def pair(texts: Sequence[str]) -> str:
    """Texts with slashes between them; one dash where all are dashes."""
    return "-" if set(texts) == {"-"} else " / ".join(texts)


def is_baseline(backbone: str) -> bool:
    """Whether the name is of a method without a network."""
    return backbone.startswith("baseline:")


def paper_lines_of(parts: Sequence[Sequence[Row]], table: PublishedTable) -> Sequence[Row] | None:
    """The rows in whose table the lines stand that only the paper has, so that these stand once.

    Those of real data before others, then those with the most published rows measured, then the first.
    """

    def rank(rows: Sequence[Row]) -> tuple[bool, int]:
        measured = {found.label for row in rows if (found := table.row(row.cell.backbone))}
        return rows[0].cell.params.get("data") == "real", len(measured)

    return max(parts, key=rank, default=None)


def make_lines(series: Sequence[Series], table: PublishedTable | None, *, unmeasured: bool = False) -> list[Line]:
    """Lines in the paper's order, then the rest, baselines last.

    Args:
        series: The measurements.
        table: The published table, or None where nothing published is comparable in kind.
        unmeasured: Also a line for each published row without a measurement.
    """
    printed = table.rows if table else ()
    lines = [Line(table.row(one.backbone) if table else None, one) for one in series]
    taken = [line.published for line in lines]
    lines += [Line(row, None) for row in printed if unmeasured and row not in taken]

    def order(line: Line) -> tuple[Any, ...]:
        rank = printed.index(line.published) if line.published else len(printed)
        if line.series is None:
            return (rank,)
        stage = line.param("stage")
        stage_rank = STAGES.index(stage) if stage in STAGES else len(STAGES)
        name = line.series.backbone
        return rank, is_baseline(name), name, str(line.param("weights")), stage_rank, line.series.label

    return sorted(lines, key=order)


def _seed_order(row: Row) -> tuple[int, str]:
    seed = str(row.cell.params["seed"])
    return len(seed), seed
