"""Figure 1 (right): frames a second, parameters and quality of the systems."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..published import load_published
from ..schema import Row
from ..series import Series
from ..tabling.latency import Panel, panels
from ..tabling.latency_values import latency_interval
from .plots import save_plots
from .quality import MASK_SETS, Quality, scores_of
from .scatter import Cloud, Point, cloud_plots

PAPER_SIZE = 1024


def figure1(rows: Sequence[Row], folder: Path, *, published: bool = True) -> list[Path]:
    """Draw `figure1`: quality over frames a second, a panel for each device and data, and one of the paper's Table 3.

    A system of the paper looks alike in all of them, hollow where its numbers are the paper's.
    A frame's time is the backbone's at batch 1, as in the paper, at 1024 pixels; at the size that most systems were
    timed at where none was at 1024. Systems that lack a time or a score are left out.
    """
    scored = scores_of(rows, ("sam-hq",))
    timed = [panel for panel in panels(rows) if panel.settings["stage"] in (None, "backbone")]
    timed = [panel for panel in timed if panel.settings["batch"] in (None, 1)]
    clouds = []
    for panel in timed:
        size = _size(panel)
        for scores in scored:
            points = _points(panel, size, scores.systems)
            if points:
                title = f"{panel.describe()}. Scores: {scores.title}"
                clouds.append(Cloud(title, f"FPS of the backbone at {size} pixels (images/s)", scores.unit, points))
    if not clouds:
        return []
    if published:
        clouds.append(_paper())
    return save_plots(cloud_plots(clouds), folder, "figure1")


def _size(panel: Panel) -> int:
    counts = Counter(int(row.cell.params["res"]) for one in panel.series for row in one.rows if latency_interval(row))
    return max(counts, key=lambda size: (size == PAPER_SIZE, counts[size], size), default=PAPER_SIZE)


def _points(panel: Panel, size: int, systems: Sequence[Quality]) -> list[Point]:
    points = []
    for system in systems:
        names = _names(system.backbone)
        times = [(one, time) for one in panel.series if one.backbone in names if (time := _time(one, size))]
        for one, time in times:
            label = system.label if len(times) == 1 else f"{system.label}, timed as {one.label}"
            points.append(Point(label, 1000 / time, system.value, system.parameters, _look(label)))
    return points


def _names(backbone: str) -> tuple[str, ...]:
    """Under which names the backbone of a system may have been timed."""
    row = load_published()["table3"].row(backbone)
    return (backbone, backbone.removesuffix("+sam"), *(row.names if row else ()))


def _look(label: str) -> str:
    """Label of the printed row that a system looks like; its own where there is none, or labels tell several apart."""
    row = load_published()["table3"].row(label)
    return row.label if row else label


def _time(series: Series, size: int) -> float | None:
    found = [latency_interval(row) for row in series.rows if int(row.cell.params["res"]) == size]
    return next((time.value for time in found if time), None)


def _paper() -> Cloud:
    table = load_published()["table3"]
    points = [
        Point(
            f"{row.label} (paper)",
            row.values["fps"],
            statistics.fmean(row.values[f"{name}/miou"] for name in MASK_SETS),
            row.values["params_m"],
            row.label,
        )
        for row in table.rows
    ]
    return Cloud(
        f"Paper, {table.source}: {table.device}, real data sets",
        f"FPS of the backbone at {table.resolution} pixels (images/s)",
        f"mIoU, mean of {', '.join(MASK_SETS)} (%)",
        points,
        hollow=True,
    )
