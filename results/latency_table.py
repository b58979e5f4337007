"""Latency over resolution: medians with intervals, growth exponents, speed-ups, memory and arithmetic rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .provenance import device_name
from .schema import Row
from .series import NUMBERED, Series, group, mark, newest, split_series
from .statistics import Growth, Interval, growth_exponent, ratio_interval, verdict
from .tables import Table, legend

SUITE = "latency"
REFERENCE = "vit-s"
GROUP_PARAMS = ("stage", "dtype", "batch", "threads")


class Panel(NamedTuple):
    """Latency rows that may be compared with each other: one device, dtype, batch, stage and thread count."""

    device: str
    settings: dict[str, Any]
    series: list[Series]

    def describe(self) -> str:
        """The device and settings in words, as captions print them."""
        names = {"stage": "{} only", "dtype": "{}", "batch": "batch {}", "threads": "{} threads"}
        facts = [names[name].format(value) for name, value in self.settings.items() if value is not None]
        return ", ".join([self.device, *facts])


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Split the rows of suite `latency`, so that no panel mixes devices; series are ordered by name."""

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in GROUP_PARAMS}

    found = group((row for row in newest(rows) if row.cell.suite == SUITE), key)
    return [
        Panel(device, settings, split_series(members, varying=("res",), shown=("device", *GROUP_PARAMS)))
        for (device, settings), members in found
    ]


def latency_interval(row: Row) -> Interval | None:
    """Median latency in ms with its interval; None for a row without numbers."""
    value = row.metrics.get("latency_ms")
    if row.status not in NUMBERED or value is None:
        return None
    low, high = row.metrics.get("latency_ms_low"), row.metrics.get("latency_ms_high")
    return Interval(value, value if low is None else low, value if high is None else high, 0.95)


def growth(series: Series) -> Growth | None:
    """Exponent of latency over tokens; None with fewer than two sizes measured."""
    points = [
        (row.metrics.get("tokens"), row.metrics.get("latency_ms")) for row in series.rows if row.status in NUMBERED
    ]
    whole = [(tokens, time) for tokens, time in points if tokens and time]
    if len({tokens for tokens, _ in whole}) < 2:
        return None
    return growth_exponent([tokens for tokens, _ in whole], [time for _, time in whole])


def latency_tables(rows: Sequence[Row], *, reference: str = REFERENCE) -> list[Table]:
    """Two tables for each panel: medians over resolutions with the growth exponent, and every point in detail.

    Args:
        rows: Rows of any suite; others than `latency` are passed over.
        reference: Backbone that speed-ups are over; without a row of it that column is left out.
    """
    return [table for panel in panels(rows) for table in (_overview(panel), _details(panel, reference))]


def _overview(panel: Panel) -> Table:
    import pandas as pd

    sizes = sorted({int(row.cell.params["res"]) for one in panel.series for row in one.rows})
    cells, records = [], []
    for one in panel.series:
        by_size = {int(row.cell.params["res"]): row for row in one.rows}
        fit = growth(one)
        cells.append((one.label, *(_time(by_size.get(size)) for size in sizes), _exponent(fit)))
        shared = {"table": "growth", "device": panel.device, **panel.settings, "backbone": one.backbone}
        fitted = {"exponent": fit.exponent, "exponent_stderr": fit.stderr} if fit else {}
        records.append({**shared, "label": one.label, **fitted})
    return Table(
        "Latency over resolution",
        f"Median latency in ms with its 95 % interval. {panel.describe()}.",
        (("", "backbone"), *(("latency (ms) at", str(size)) for size in sizes), ("", "growth exponent")),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (*legend(cells), "Growth exponent p: least-squares fit of latency ~ tokens^p, ± its standard error."),
    )


def _details(panel: Panel, reference: str) -> Table:
    import pandas as pd

    base = _reference(panel, reference)
    base_rows = {row.cell.params["res"]: row for row in base.rows} if base else {}
    columns = [
        ("", "backbone"),
        ("", "resolution"),
        ("", "tokens"),
        ("latency (ms)", "median"),
        ("latency (ms)", "95 %"),
    ]
    columns += [("", f"speed-up over {base.label}")] if base else []
    columns += [("", "peak memory (MiB)"), ("", "GFLOP/s"), ("", "of a matrix product")]
    cells, records = [], []
    for one in panel.series:
        for row in sorted(one.rows, key=lambda row: int(row.cell.params["res"])):
            time = latency_interval(row)
            speed_up = _speed_up(row, base_rows.get(row.cell.params["res"]))
            share = _share(row)
            line = [one.label, str(row.cell.params["res"]), _count(row.metrics.get("tokens")), _median(row)]
            line += [_range(time)] + ([_ratio(speed_up, row, one is base)] if base else [])
            line += [_count(row.metrics.get("peak_memory_mib")), _count(row.metrics.get("gflops_per_s"))]
            cells.append((*line, "-" if share is None else f"{100 * share:.0f} %"))
            records.append(_record(panel, one, row, base, speed_up))
    ties = any("(tie)" in text for line in cells for text in line)
    notes = ["tie: the interval of the speed-up holds 1."] if ties else []
    return Table(
        "Latency, every point",
        f"{panel.describe()}.",
        tuple(columns),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (*legend(cells), *notes),
    )


def _record(panel: Panel, one: Series, row: Row, base: Series | None, speed_up: Interval | None) -> dict[str, Any]:
    return {
        "table": "points",
        "device": panel.device,
        **panel.settings,
        "backbone": one.backbone,
        "label": one.label,
        "res": row.cell.params["res"],
        "status": row.status,
        **dict(sorted(row.metrics.items())),
        "reference": base.label if base else None,
        "speed_up": speed_up.value if speed_up else None,
        "speed_up_low": speed_up.low if speed_up else None,
        "speed_up_high": speed_up.high if speed_up else None,
    }


def _reference(panel: Panel, name: str) -> Series | None:
    found = [one for one in panel.series if one.backbone == name]
    fused = [one for one in found if one.param("attention") == "sdpa"]
    return next(iter([*fused, *found]), None)


def _speed_up(row: Row, base: Row | None) -> Interval | None:
    ours, theirs = latency_interval(row), latency_interval(base) if base else None
    return ratio_interval(theirs, ours) if ours and theirs else None


def _ratio(speed_up: Interval | None, row: Row, is_base: bool) -> str:
    if is_base:
        return "1" if row.status in NUMBERED else "-"
    if speed_up is None:
        return "-"
    return f"{speed_up.value:.2f}" + (" (tie)" if verdict(speed_up) == "tie" else "")


def _share(row: Row) -> float | None:
    rate, plain = row.metrics.get("gflops_per_s"), row.metrics.get("matmul_gflops_per_s")
    return rate / plain if rate and plain else None


def _median(row: Row) -> str:
    time = latency_interval(row)
    if time is None:
        return mark(row.status)
    return _significant(time.value) + ("†" if row.status == "unstable" else "")


def _time(row: Row | None) -> str:
    if row is None:
        return "-"
    time = latency_interval(row)
    return _median(row) if time is None else f"{_median(row)} {_range(time)}"


def _range(time: Interval | None) -> str:
    return "-" if time is None else f"[{_significant(time.low)}, {_significant(time.high)}]"


def _significant(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _exponent(fit: Growth | None) -> str:
    if fit is None:
        return "-"
    return f"{fit.exponent:.2f}" + ("" if fit.stderr is None else f"±{fit.stderr:.2f}")


def _count(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.0f}"
