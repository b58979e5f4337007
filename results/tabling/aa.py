"""A/A pairs: what was measured against itself, in two processes that took turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..schema import Row
from ..series import group, newest
from ..statistics import verdict
from .latency_values import SUITE, latency_ratio
from .tables import LineSources, Table, sources_of


def aa_tables(rows: Sequence[Row]) -> list[Table]:
    """One table for each device, a line for each pair; empty without pairs."""

    def key(row: Row) -> tuple[Any, ...]:
        return row.cell.backbone, {name: value for name, value in row.cell.params.items() if name != "twin"}

    twins = [row for row in newest(rows) if row.cell.suite == SUITE and "twin" in row.cell.params]
    return [
        table
        for (device,), members in group(twins, lambda row: (device_name(row),))
        if (table := _table(device, [pair for _, pair in group(members, key)]))
    ]


def _table(device: str, pairs: Sequence[Sequence[Row]]) -> Table | None:
    import pandas as pd

    cells, records = [], []
    sources: list[LineSources] = []
    for pair in pairs:
        by_twin = {row.cell.params["twin"]: row for row in pair}
        ratio, rounds = latency_ratio(by_twin["b"], by_twin["a"]) if len(by_twin) == 2 else (None, 0)
        if ratio is None:
            continue
        cell, said = pair[0].cell, verdict(ratio)
        settings = {name: cell.params.get(name) for name in ("stage", "res", "dtype", "batch", "attention")}
        records.append({"table": "aa", "device": device, "backbone": cell.backbone, **settings})
        records[-1] |= {
            "aa_ratio": ratio.value,
            "aa_ratio_low": ratio.low,
            "aa_ratio_high": ratio.high,
            "verdict": said,
        }
        told = ", ".join(str(value) for name, value in settings.items() if name != "res" and value is not None)
        span = f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        cells.append((cell.backbone, told, str(cell.params["res"]), span, str(rounds) if rounds else "-", said))
        sources.append(sources_of(cells[-1], pair, names=3))
    if not cells:
        return None
    ties = sum(line[-1] == "tie" for line in cells)
    return Table(
        "A/A pairs",
        f"Latency of a subject over that of itself in another process, with its 95 % interval. {device}.",
        tuple(("", name) for name in ("backbone", "settings", "resolution", "ratio", "rounds", "verdict")),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (f"{ties} of {len(cells)} are ties.",),
        tuple(sources),
    )
