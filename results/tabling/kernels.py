"""Operators: times of all implementations side by side, with errors, rates and the share of the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..provenance import device_name
from ..schema import Row, canonical_json
from ..series import group, newest
from ..statistics import Interval, ratio_interval, verdict
from .intervals import metric_interval
from .tables import LineSources, Table, sources_of

SUITE = "kernels"
_AMOUNTS = {"copying": ("bytes", "copy_gb_per_s"), "arithmetic": ("flops", "matrix_gflops_per_s")} | {
    "exponentials": ("exps", "peak_gexps_per_s")
}
_OPTIONAL = ("threads", "launch")
_NOTES = (
    "error: root mean square of the difference from the float64 reference over its own, the worst of all results; "
    "an implementation whose error is above its dtype's tolerance is wrong and gets no time.",
    "vs fastest: time over that of the fastest implementation of the same work; tie: the interval of it holds 1.",
    "roofline: the least time of the call over the measured one; the least time is the longest of its bytes, "
    "arithmetic and exponentials at the rates measured beside it (copying, matrix product, exponentials); "
    "every input is read and every output written once.",
    "first call: of this work in its process, with the compilation and autotuning that nothing before it, there "
    "or in a cache on the disk, has done.",
)
_LAUNCH_NOTE = (
    "launch: eager is the device's time between two events around one call, caches flushed; graph is a call's share of "
    "a replayed CUDA graph, caches warm."
)


class Work(NamedTuple):
    """Rows of implementations that do the same work on one device."""

    params: dict[str, Any]
    rows: list[Row]


class Panel(NamedTuple):
    """One operator on one device."""

    device: str
    operator: str
    works: list[Work]


def kernel_panels(rows: Sequence[Row]) -> list[Panel]:
    """Rows of suite `kernels` by device and operator, and in these by what is computed; others are passed over."""
    mine = [row for row in newest(rows) if row.cell.suite == SUITE]
    return [
        Panel(device, operator, [Work(params, _ordered(found)) for (params,), found in group(members, _work_key)])
        for (device, operator), members in group(mine, lambda row: (device_name(row), row.cell.backbone))
    ]


def _work_key(row: Row) -> tuple[Any, ...]:
    params = row.cell.params
    # Their order in the key is the order of the table's lines.
    names = ("case", "shape", "direction", "dtype", "launch", "threads")
    told = {name: params.get(name) for name in names}
    rank = {"forward": 0, "backward": 1}.get(str(told["direction"]), 2)
    rest = {name: value for name, value in params.items() if name not in {*names, "backend"}}
    return ({"a": told["case"], "b": told["shape"], "c": told["dtype"], "d": rank, **told, "rest": rest},)


def _ordered(rows: list[Row]) -> list[Row]:
    def place(row: Row) -> tuple[bool, float, str]:
        time = kernel_time(row)
        return time is None, time.value if time else 0.0, str(row.cell.params.get("backend"))

    return sorted(rows, key=place)


def kernel_time(row: Row) -> Interval | None:
    """Median time of a call in ms with its interval; None for a row without numbers."""
    return metric_interval(row, "time_ms")


def bound_by(row: Row) -> str | None:
    """What the least time of a call is made of: `copying`, `arithmetic` or `exponentials`."""
    times = {
        name: amount / rate
        for name, (first, second) in _AMOUNTS.items()
        if (amount := row.metrics.get(first)) and (rate := row.metrics.get(second))
    }
    return max(times, key=lambda name: times[name]) if times else None


def shape_label(params: dict[str, Any]) -> str:
    """A case's name and its sizes, as `vim-s 1024 (B1 L4097 D768)`."""
    sizes = str(params.get("shape")).replace("=", "").replace(",", " ")
    return f"{params.get('case')} ({sizes})"


def kernel_tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each device and operator; notes say why a row has no time, the last ones what columns mean."""
    panels = kernel_panels(rows)
    graphs = any(work.params["launch"] == "graph" for panel in panels for work in panel.works)
    notes = (*_NOTES, *([_LAUNCH_NOTE] if graphs else []))
    return [_table(panel, notes if panel is panels[-1] else ()) for panel in panels]


def _table(panel: Panel, notes: tuple[str, ...]) -> Table:
    import pandas as pd

    shown = [name for name in _OPTIONAL if len({canonical_json(work.params[name]) for work in panel.works}) > 1]
    scaling = "threads" in shown
    columns = [("", "shape"), ("", "pass"), ("", "dtype"), *(("", name) for name in shown), ("", "implementation")]
    columns += [("time (ms)", "median"), ("time (ms)", "95 %"), ("", "vs fastest")]
    columns += [("", "vs 1 thread")] if scaling else []
    columns += [("", "GB/s"), ("", "GFLOP/s"), ("roofline", "share"), ("roofline", "set by")]
    columns += [("", "error"), ("", "first call (s)")]
    cells, records = [], []
    sources: list[LineSources] = []
    for work in panel.works:
        fastest = next((time for row in work.rows if (time := kernel_time(row))), None)
        for row in work.rows:
            ratio = _ratio(kernel_time(row), fastest)
            alone = _alone(panel, row) if scaling else None
            line = [shape_label(work.params), str(work.params["direction"]), str(work.params["dtype"])]
            line += [_text(work.params[name]) for name in shown]
            line += [str(row.cell.params.get("backend")), *_times(row), _ratio_text(ratio, row is work.rows[0])]
            line += [_number(alone.value if alone else None)] if scaling else []
            cells.append((*line, *_rates(row)))
            sources.append(sources_of(cells[-1], (row,), names=4 + len(shown)))
            records.append(_record(panel, row, ratio, alone))
    settings = [f"{name} {_text(panel.works[0].params[name])}" for name in _OPTIONAL if name not in shown]
    facts = [fact for fact in settings if not fact.endswith(" -")]
    return Table(
        f"Operator {panel.operator}",
        f"Median time of a call with its 95 % interval. {', '.join([panel.device, *facts])}. {_peaks(panel)}",
        tuple(columns),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (*_reasons(panel), *notes),
        tuple(sources),
    )


def _alone(panel: Panel, row: Row) -> Interval | None:
    """Speed-up over the same call on one thread."""
    wanted = canonical_json({**row.cell.params, "threads": 1})
    single = [one for work in panel.works for one in work.rows if canonical_json(dict(one.cell.params)) == wanted]
    return _ratio(kernel_time(single[0]), kernel_time(row)) if single else None


def _ratio(time: Interval | None, other: Interval | None) -> Interval | None:
    return ratio_interval(time, other) if time and other else None


def _ratio_text(ratio: Interval | None, fastest: bool) -> str:
    if ratio is None or fastest:
        return "-" if ratio is None else "1"
    return f"{ratio.value:.2f}" + (" (tie)" if verdict(ratio) == "tie" else "")


def _times(row: Row) -> tuple[str, str]:
    time = kernel_time(row)
    if time is None:
        return row.status, "-"
    return _number(time.value), f"[{_number(time.low)}, {_number(time.high)}]"


def _rates(row: Row) -> tuple[str, ...]:
    metrics = row.metrics if kernel_time(row) else {}
    share, first = metrics.get("roofline_fraction"), metrics.get("first_call_ms")
    error = row.metrics.get("error_rms")
    return (
        _number(metrics.get("gb_per_s")),
        _number(metrics.get("gflops_per_s")),
        "-" if share is None else f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %",
        (bound_by(row) if metrics else None) or "-",
        "-" if error is None else f"{error:.1e}",
        "-" if first is None else _number(first / 1000),
    )


def _peaks(panel: Panel) -> str:
    parts = []
    for name, unit in (("large_copy_gb_per_s", "copying {} GB/s"), ("peak_gexps_per_s", "{} Gexp/s")):
        found = [row.metrics[name] for work in panel.works for row in work.rows if row.metrics.get(name)]
        parts += [unit.format(_number(max(value for value in found if value is not None)))] if found else []
    products: dict[str, float] = {}
    for work in panel.works:
        for row in work.rows:
            rate = row.metrics.get("matrix_gflops_per_s")
            dtype = str(work.params["dtype"])
            if rate:
                products[dtype] = max(rate, products.get(dtype, 0.0))
    parts += [f"matrix product {_number(rate)} GFLOP/s in {dtype}" for dtype, rate in sorted(products.items())]
    return f"Best rates seen beside: {', '.join(parts)}." if parts else ""


def _reasons(panel: Panel) -> list[str]:
    told = [
        f"{row.cell.params.get('backend')}: {row.status}: {row.error}"
        for work in panel.works
        for row in work.rows
        if kernel_time(row) is None and row.error
    ]
    return list(dict.fromkeys(told))


def _record(panel: Panel, row: Row, ratio: Interval | None, alone: Interval | None) -> dict[str, Any]:
    return {
        "device_name": panel.device,
        "operator": panel.operator,
        **{name: value for name, value in row.cell.params.items() if name != "source"},
        "status": row.status,
        **dict(sorted(row.metrics.items())),
        "bound_by": bound_by(row),
        "over_fastest": ratio.value if ratio else None,
        "over_fastest_low": ratio.low if ratio else None,
        "over_fastest_high": ratio.high if ratio else None,
        "over_one_thread": alone.value if alone else None,
        "error_text": row.error,
    }


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
