"""What the page's charts draw: latency over resolution, and the settings and names of the points of the scatter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..provenance import device_name
from ..schema import Row, canonical_json
from ..series import group, mark, split_series
from ..tabling.latency import growth, panels
from ..tabling.latency_values import SUITE, latency_interval, noise_note
from .places import Places

# What two points of one scatter must share; every other parameter tells the points apart.
_SETTINGS: tuple[str, ...] = (
    "measure",
    "res",
    "data",
    "frame",
    "decoder",
    "case",
    "shape",
    "direction",
    "dtype",
    "tf32",
    "batch",
)
_SETTINGS += ("prompts", "threads", "launch", "limit", "protocol")
_DIGESTS = ("_sha", "_sha256", "fingerprint", "fingerprints")


class PointName(NamedTuple):
    """How the page calls a row.

    Attributes:
        setting: Device and settings, which the points of one chart share.
        brief: What of them differs between the rows of the suite; may be empty.
        label: Backbone and what else tells the row from all others of that setting.
    """

    setting: str
    brief: str
    label: str


def latency_charts(rows: Sequence[Row], places: Places) -> list[dict[str, Any]]:
    """One chart for each device and setting, as in the paper's Figure 3, that of most points first."""
    charts = []
    for panel in panels(rows):
        series = []
        for one in panel.series:
            fit = growth(one)
            found = sorted(one.rows, key=lambda row: int(row.cell.params["res"]))
            fitted = "" if fit is None else f"tokens^{fit.exponent:.2f}"
            series.append({"label": one.label, "growth": fitted, "points": [_point(row, places) for row in found]})
        charts.append({"title": panel.describe(), "noise": noise_note(panel.noise), "series": series})
    return sorted(charts, key=lambda chart: -sum(len(one["points"]) for one in chart["series"]))


def _point(row: Row, places: Places) -> dict[str, Any]:
    time = latency_interval(row)
    value = [time.value, time.low, time.high] if time else None
    return {"res": int(row.cell.params["res"]), "time": value, "mark": mark(row.status), "row": places.of(row)}


def name_points(rows: Sequence[Row]) -> list[PointName]:
    """The name of each row."""
    names: dict[int, PointName] = {}
    for _, of_suite in group(rows, lambda row: (row.cell.suite,)):
        found = group(of_suite, lambda row: (_settings(row),))
        telling = {
            name
            for name in ("device", "stage", *_SETTINGS)
            if len({canonical_json(settings.get(name)) for (settings,), _ in found}) > 1
        }
        for (settings,), members in found:
            words = {name: _words(name, value) for name, value in settings.items()}
            brief = ", ".join(text for name, text in words.items() if name in telling)
            for label, found_rows in _labels(members, ("device", *settings)):
                names |= {id(row): PointName(", ".join(words.values()), brief, label) for row in found_rows}
    return [names[id(row)] for row in rows]


def _labels(rows: Sequence[Row], shown: Sequence[str]) -> list[tuple[str, tuple[Row, ...]]]:
    """Names of rows that share a setting: without digests, which say nothing to a reader, where these are enough."""
    digests = {name for row in rows for name, value in row.cell.params.items() if _is_digest(name, value)}
    whole = split_series(rows, varying=(), shown=shown)
    plain = split_series(rows, varying=(), shown=(*shown, *digests))
    uses = Counter(one.label for one in plain)
    return [
        (short.label if uses[short.label] == 1 else full.label, full.rows)
        for short, full in zip(plain, whole, strict=True)
    ]


def _is_digest(name: str, value: Any) -> bool:
    return name.endswith(_DIGESTS) or isinstance(value, (list, dict))


def _settings(row: Row) -> dict[str, Any]:
    shown = ("stage", *_SETTINGS) if row.cell.suite == SUITE else _SETTINGS
    params = {name: row.cell.params[name] for name in shown if row.cell.params.get(name) is not None}
    return {"device": device_name(row), **params}


def _words(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text if name == "device" else f"{name} {text}"
