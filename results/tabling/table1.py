"""The paper's Table 1: stages and parameters of backbones, published beside counted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..published import load_published
from ..schema import Row
from ..series import NUMBERED, mark, newest
from .compared import Compared, ComparedLine, Entry, Plain, compared_table
from .tables import Table

SUITE = "model-stats"
STAGES = (1, 2, 3, 4)
_MILLION, _BILLION = 1e-6, 1e-9


def table1(rows: Sequence[Row]) -> list[Table]:
    """One table of the rows of suite `model-stats`; none without rows.

    Counting needs no device: rows of all machines stand in one table, of each backbone the newest.
    """
    found = {row.cell.backbone: row for row in sorted(_counted(rows), key=lambda row: row.created_utc)}
    if not found:
        return []
    published = load_published()["table1"]
    order = [name for row in published.rows for name in row.names]
    names = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    lines = [ComparedLine(name, published.row(name), _entries(found[name])) for name in names]
    sides = sorted({side for row in found.values() for side in row.cell.params["sides"]})
    most = max(len(row.samples.get("stage/blocks", ())) for row in found.values())
    stages = [column for stage in STAGES[: max(most, 3)] for column in _stage_columns(stage)]
    parameters = Compared("params_m", "params (M)", "{:.1f}".format, comparable=True)
    counts = [
        Plain(head, str(side), partial(_count, key, side), _rows)
        for head, key in (("GMAC at side", "macs"), ("operator GFLOP at side", "operator_flops"))
        for side in sides
    ]
    verified = all(row.status == "ok" and row.provenance["run"]["verified"] for row in found.values())
    notes = [
        "Stage: blocks x channels / stride. Parameters: of the backbone alone, without neck, decoder and classifier.",
        "GMAC: multiply-adds of one square image in linear layers, convolutions and attention; the operators' beside.",
        *(["Every count equals the one in LinBench's registry."] if verified else []),
    ]
    caption = "Counted on the meta device: no data, no weights, and the same on every device."
    title = "Backbones: stages, parameters and multiply-adds"
    return [compared_table(title, caption, lines, [*stages, parameters, *counts], published, notes=notes)]


def _counted(rows: Sequence[Row]) -> list[Row]:
    return [row for row in newest(rows) if row.cell.suite == SUITE]


def _entries(row: Row) -> dict[str, Entry]:
    return {"params_m": Entry((row,), "parameters", scale=_MILLION)}


def _rows(line: ComparedLine) -> tuple[Row, ...]:
    return line.entry("params_m").rows


def _stage_columns(stage: int) -> list[Plain]:
    return [
        Plain(f"stage {stage}", "paper", partial(_published_stage, stage)),
        Plain(f"stage {stage}", "measured", partial(_stage, stage), _rows),
    ]


def _published_stage(stage: int, line: ComparedLine) -> str:
    blocks, channels, stride = (line.paper(f"stage{stage}/{name}") for name in ("blocks", "channels", "stride"))
    if blocks is None or channels is None or stride is None:
        return "-"
    return f"{blocks:g} x {channels:g} / {stride:g}"


def _stage(stage: int, line: ComparedLine) -> str:
    (row,) = _rows(line)
    if row.status not in NUMBERED:
        return mark(row.status)
    places = zip(row.samples["stage/blocks"], row.samples["stage/channels"], row.samples["stage/stride"], strict=True)
    found = list(places)
    if stage > len(found):
        return "-"
    blocks, channels, stride = found[stage - 1]
    return f"{'?' if blocks is None else blocks} x {channels} / {stride}"


def _count(key: str, side: int, line: ComparedLine) -> str:
    (row,) = _rows(line)
    value = row.metrics.get(f"{key}_{side}")
    if row.status not in NUMBERED:
        return mark(row.status)
    return "-" if value is None else f"{value * _BILLION:.3g}"
