"""Quality over throughput at the best batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..provenance import device_name
from ..schema import Row
from ..series import NUMBERED, group, newest, split_series
from ..tabling.latency_values import SUITE
from .plots import save_plots
from .quality import Quality, scores_of
from .scatter import Cloud, Point, cloud_plots

_SETTINGS = ("stage", "dtype", "tf32", "prompts", "threads", "res")


def throughput_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `throughput`: quality over images a second, a panel for each device, setting, size and scored data.

    Throughput is what `bench latency --batch auto` measured in a run of its own, never the inverse of a latency.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in _SETTINGS}

    rated = [row for row in newest(rows) if row.cell.suite == SUITE and row.cell.params.get("measure") == "throughput"]
    rated = [row for row in rated if row.status in NUMBERED and row.metrics.get("images_per_s")]
    clouds = []
    for (device, settings), members in group(rated, key):
        for scores in scores_of(rows, ("classification", "ade20k", "sam-hq")):
            points = _points(members, scores.systems)
            if points:
                facts = [device, *(str(settings[name]) for name in ("stage", "dtype") if settings[name] is not None)]
                title = f"{', '.join(facts)}. Scores ({scores.suite}): {scores.title}"
                unit = f"images/s at the best batch, {settings['res']} pixels"
                clouds.append(Cloud(title, unit, scores.unit, points))
    # A panel where all have one speed shows no trade-off; it is drawn only where there is no other.
    clouds = [cloud for cloud in clouds if len({point.x for point in cloud.points}) > 1] or clouds
    if not clouds:
        return []
    return save_plots(cloud_plots(clouds), folder, "throughput")


def _points(rated: Sequence[Row], systems: Sequence[Quality]) -> list[Point]:
    series = split_series(rated, varying=(), shown=("device", *_SETTINGS))
    points = []
    for system in systems:
        names = (system.backbone, system.backbone.removesuffix("+sam"))
        found = [one for one in series if one.backbone in names]
        for one in found:
            rate = one.rows[-1].metrics["images_per_s"]
            label = system.label if len(found) == 1 else f"{system.label}, timed as {one.label}"
            points.append(Point(label, float(rate or 0), system.value, system.parameters, label))
    return points
