"""Throughput at the best batch, measured in a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..provenance import device_name
from ..schema import Row
from ..series import NUMBERED, group, mark, newest, split_series
from ..words import counted
from .latency_values import SUITE
from .tables import LineSources, Table, legend, sources_of

_SETTINGS = ("stage", "dtype", "tf32", "prompts", "threads")


def throughput_tables(rows: Sequence[Row]) -> list[Table]:
    """One table for each device and setting; empty without rows of throughput."""

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in _SETTINGS}

    found = [row for row in newest(rows) if row.cell.suite == SUITE and row.cell.params.get("measure") == "throughput"]
    return [_table(device, settings, members) for (device, settings), members in group(found, key)]


def _table(device: str, settings: dict[str, Any], rows: Sequence[Row]) -> Table:
    import pandas as pd

    cells, records = [], []
    sources: list[LineSources] = []
    for one in split_series(rows, varying=("res",), shown=("device", *_SETTINGS)):
        for row in sorted(one.rows, key=lambda row: int(row.cell.params["res"])):
            metrics, res = row.metrics, row.cell.params["res"]
            shared = {"table": "throughput", "device": device, **settings, "backbone": one.backbone, "label": one.label}
            records.append({**shared, "res": res, "status": row.status, **dict(sorted(metrics.items()))})
            if row.status in NUMBERED and metrics.get("images_per_s") is not None:
                span = f"[{metrics['images_per_s_low']:.4g}, {metrics['images_per_s_high']:.4g}]"
                memory = metrics.get("peak_memory_mib")
                told = [f"{metrics['images_per_s']:.4g}", span, str(metrics["best_batch"])]
                cells.append((one.label, str(res), *told, "-" if memory is None else f"{memory:.0f}"))
            else:
                cells.append((one.label, str(res), mark(row.status), "-", "-", "-"))
            sources.append(sources_of(cells[-1], (row,), names=2))
    told = [str(value) for name, value in settings.items() if value is not None and name != "threads"]
    told += [] if settings["threads"] is None else [counted(settings["threads"], "thread")]
    columns = (("", "backbone"), ("", "resolution"), ("images/s", "median"), ("images/s", "95 %"))
    return Table(
        "Throughput",
        f"Images a second at the best batch, in passes that follow each other without a pause. {device}, "
        f"{', '.join(told)}.",
        (*columns, ("", "best batch"), ("", "peak memory (MiB)")),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        legend(cells),
        tuple(sources),
    )
