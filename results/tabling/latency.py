"""Latency over resolution: medians with intervals, growth exponents, speed-ups, memory and arithmetic rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..provenance import device_name
from ..schema import Row
from ..series import NUMBERED, Series, group, mark, of_one_sweep, split_series
from ..statistics import Growth, Interval, growth_exponent, verdict
from ..words import counted
from .aa import aa_tables
from .latency_values import is_timed, latency_interval, latency_ratio, noise_floor, noise_note
from .tables import LineSources, Table, legend, sources_of
from .throughput import throughput_tables

REFERENCE = "vit-s"
GROUP_PARAMS = ("stage", "dtype", "tf32", "batch", "prompts", "threads")
_LEVEL = 0.95
_MEMORY = ("peak_memory", "weights", "activations", "reserved_memory")
_STAGES = {"e2e": "end to end"}
_WORDS = {
    "dtype": "{}",
    "tf32": "TF32 products",
    "batch": "batch {}",
}
_COUNTED = {"prompts": ("prompt", " an image"), "threads": ("thread", "")}


class Panel(NamedTuple):
    """Latency rows that may be compared with each other: one device and the same settings.

    Attributes:
        device: Its name.
        settings: What `GROUP_PARAMS` are.
        series: Ordered by name.
        noise: The noise floor, a fraction; None where it is not known.
    """

    device: str
    settings: dict[str, Any]
    series: list[Series]
    noise: float | None

    def describe(self) -> str:
        """The device, settings and flags in words, as captions print them."""
        stage = self.settings["stage"]
        facts = [_STAGES.get(stage, f"{stage} only")] if stage else []
        facts += [words.format(told) for name, words in _WORDS.items() if (told := self.settings[name]) is not None]
        facts += [
            counted(told, noun) + rest
            for name, (noun, rest) in _COUNTED.items()
            if (told := self.settings[name]) is not None
        ]
        return ", ".join([self.device, *facts, *self._flags()])

    def _flags(self) -> list[str]:
        """What all series share; where they differ, their labels tell."""
        layouts = {one.param("channels_last") for one in self.series}
        compiled = {one.param("compile") for one in self.series}
        told = {frozenset([True]): ["channels-last"], frozenset([False]): ["contiguous"]}.get(frozenset(layouts), [])
        return told + [f"compile {mode}" for mode in compiled if len(compiled) == 1 and mode is not None]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Split the latency rows of models, so that no panel mixes devices; series are ordered by name.

    All points of a series are of the newest sweep that has them all; where none has, each is the newest.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in GROUP_PARAMS}

    found = []
    for (device, settings), members in group((row for row in rows if is_timed(row)), key):
        split = split_series(members, varying=("res",), shown=("device", *GROUP_PARAMS))
        series = [replace(one, rows=tuple(of_one_sweep(one.rows))) for one in split]
        noise = noise_floor([row for one in series for row in one.rows], rows)
        found.append(Panel(device, settings, series, noise))
    return found


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

    Throughput and A/A pairs follow in tables of their own.

    Args:
        rows: Rows of any suite; others than `latency` are passed over.
        reference: Backbone that speed-ups are over; without a row of it that column is left out.
    """
    timed = [table for panel in panels(rows) for table in (_overview(panel), _details(panel, reference))]
    return [*timed, *throughput_tables(rows), *aa_tables(rows)]


def _overview(panel: Panel) -> Table:
    import pandas as pd

    sizes = sorted({int(row.cell.params["res"]) for one in panel.series for row in one.rows})
    cells, records = [], []
    sources: list[LineSources] = []
    for one in panel.series:
        by_size = {int(row.cell.params["res"]): row for row in one.rows}
        fit = growth(one)
        cells.append((one.label, *(_time(by_size.get(size)) for size in sizes), _exponent(fit)))
        measured = [(by_size[size],) if size in by_size else () for size in sizes]
        sources.append(((), *measured, one.rows if fit else ()))
        shared = {"table": "growth", "device": panel.device, **panel.settings, "backbone": one.backbone}
        fitted = {"exponent": fit.exponent, "exponent_stderr": fit.stderr} if fit else {}
        records.append({**shared, "label": one.label, **fitted})
    return Table(
        "Latency over resolution",
        f"Median latency in ms with its 95 % interval. {panel.describe()}.",
        (("", "backbone"), *(("latency (ms) at", str(size)) for size in sizes), ("", "growth exponent")),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (
            *legend(cells),
            "Growth exponent p: least-squares fit of latency ~ tokens^p, ± its standard error.",
            "Bold: the shortest, and those whose interval overlaps its.",
            *_low_levels(panel),
            noise_note(panel.noise),
        ),
        tuple(sources),
        goals={("latency (ms) at", str(size)): "low" for size in sizes},
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
    columns += [("memory (MiB)", name) for name in ("peak", "weights", "activations", "reserved")]
    columns += [("", "GFLOP/s"), ("", "of a matrix product")]
    cells, records = [], []
    sources: list[LineSources] = []
    for one in panel.series:
        for row in sorted(one.rows, key=lambda row: int(row.cell.params["res"])):
            time = latency_interval(row)
            speed_up = _speed_up(row, base_rows.get(row.cell.params["res"]))
            share = _share(row)
            line = [one.label, str(row.cell.params["res"]), _count(row.metrics.get("tokens")), _median(row)]
            line += [_range(time)] + ([_ratio(speed_up, row, one is base)] if base else [])
            line += [_count(row.metrics.get(f"{name}_mib")) for name in _MEMORY]
            line += [_count(row.metrics.get("gflops_per_s"))]
            cells.append((*line, "-" if share is None else f"{100 * share:.0f} %"))
            other = base_rows.get(row.cell.params["res"])
            told = list(sources_of(cells[-1], (row,)))
            if base and other and other is not row:
                told[5] = (row, other)
            sources.append(tuple(told))
            records.append(_record(panel, one, row, base, speed_up))
    notes = [
        "Memory: most that the process used, weights, what one call used; reserved: most that the process held, with "
        "what its allocator keeps for the next call."
    ]
    ties = any("(tie)" in text for line in cells for text in line)
    notes += ["tie: the interval of the speed-up holds 1."] if ties else []
    disturbed = sum(int(row.metrics.get("marked_blocks") or 0) for one in panel.series for row in one.rows)
    if disturbed:
        notes.append(
            f"Disturbed by the machine to the end, and counted: {counted(disturbed, 'block')}; the rows say by what."
        )
    return Table(
        "Latency, every point",
        f"{panel.describe()}.",
        tuple(columns),
        tuple(cells),
        pd.DataFrame(records, dtype=object),
        (*legend(cells), *notes, *_low_levels(panel), noise_note(panel.noise)),
        tuple(sources),
    )


def _low_levels(panel: Panel) -> list[str]:
    """A note that names the cells of so few rounds that no interval of them reaches 95 %."""
    levels = {
        f"{one.label} at {row.cell.params['res']}": row.metrics.get("latency_ms_level")
        for one in panel.series
        for row in one.rows
        if row.status in NUMBERED
    }
    low = [f"{name} ({100 * level:.3g} %)" for name, level in levels.items() if level is not None and level < _LEVEL]
    return [f"Intervals of too few rounds for 95 %: {', '.join(low)}."] if low else []


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
        "noise_floor": panel.noise,
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
    return latency_ratio(base, row)[0] if base else None


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
    return significant(time.value) + ("†" if row.status == "unstable" else "")


def _time(row: Row | None) -> str:
    if row is None:
        return "-"
    time = latency_interval(row)
    return _median(row) if time is None else f"{_median(row)} {_range(time)}"


def _range(time: Interval | None) -> str:
    return "-" if time is None else f"[{significant(time.low)}, {significant(time.high)}]"


def significant(value: float) -> str:
    """A time with three or four figures."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _exponent(fit: Growth | None) -> str:
    if fit is None:
        return "-"
    return f"{fit.exponent:.2f}" + ("" if fit.stderr is None else f"±{fit.stderr:.2f}")


def _count(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.0f}"
