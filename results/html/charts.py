"""What the page's charts draw: latency over resolution, and the settings and names of the points of the scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..latency_table import growth, panels
from ..latency_values import SUITE, latency_interval, noise_note
from ..provenance import device_name
from ..schema import Row, canonical_json
from ..series import group, mark, split_series
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
    """One chart for each device and setting, as in the paper's Figure 3."""
    charts = []
    for panel in panels(rows):
        series = []
        for one in panel.series:
            fit = growth(one)
            found = sorted(one.rows, key=lambda row: int(row.cell.params["res"]))
            fitted = "" if fit is None else f"tokens^{fit.exponent:.2f}"
            series.append({"label": one.label, "growth": fitted, "points": [_point(row, places) for row in found]})
        charts.append({"title": panel.describe(), "noise": noise_note(panel.noise), "series": series})
    return charts


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
            for one in split_series(members, varying=(), shown=("device", *settings)):
                names |= {id(row): PointName(", ".join(words.values()), brief, one.label) for row in one.rows}
    return [names[id(row)] for row in rows]


def _settings(row: Row) -> dict[str, Any]:
    shown = ("stage", *_SETTINGS) if row.cell.suite == SUITE else _SETTINGS
    params = {name: row.cell.params[name] for name in shown if row.cell.params.get(name) is not None}
    return {"device": device_name(row), **params}


def _words(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text if name == "device" else f"{name} {text}"
