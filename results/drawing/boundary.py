"""Boundary errors: how often a pixel is wrong, by its distance to the true edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..provenance import device_name
from ..schema import Row
from ..series import NUMBERED, Series, group, newest, short_labels, split_series
from ..words import DATA_WORDS
from .canvas import label_decades, legend_below, legend_inches, line_style, wrapped
from .plots import Plot, save_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUITE = "sam-hq"
DISTANCES = "edge/percent"
_WRONG, _PIXELS = "/edge_wrong", "/edge_pixels"
_CONDITIONS = ("data", "datasets", "dataset_fingerprints", "protocol", "frame", "limit")
FLOOR = 0.01
"""Smallest percentage drawn: fewer wrong pixels than one in 10,000 are a handful in a whole data set."""
_AXES_INCHES, _FRAME_INCHES = 1.8, 0.8


def boundary_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `boundary`: the share of wrong pixels over the distance to the true edge, a panel for each device and data.

    Distances are in percent of the image's diagonal, as those of boundary IoU are; pixels of all images and seeds are
    summed, and shares below `FLOOR` left out. Rows scored before this was stored have none and are left out.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in _CONDITIONS if name != "frame"}

    mine = [row for row in newest(rows) if row.cell.suite == SUITE and row.status in NUMBERED]
    groups = group((row for row in mine if error_shares([row])), key)
    panels = [(device, found, _series(found)) for (device, _), found in groups]
    if not panels:
        return []
    plots = [
        Plot(
            partial(_panel, title=f"{device}. {_data(found)}", series=series),
            _AXES_INCHES,
            _FRAME_INCHES + legend_inches(short_labels(series)),
        )
        for device, found, series in panels
    ]
    return save_plots(plots, folder, "boundary")


def error_shares(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Distance to the true edge in percent of the diagonal, and the percentage of pixels there that are wrong.

    Every distance is the upper end of its bin; bins without pixels are left out. Empty where the rows hold none.
    """
    wrong: dict[float, int] = {}
    pixels: dict[float, int] = {}
    for row in rows:
        bins = row.samples.get(DISTANCES, [])
        for name, counts in row.samples.items():
            for suffix, sums in ((_WRONG, wrong), (_PIXELS, pixels)):
                if name.endswith(suffix):
                    for distance, count in zip(bins, counts, strict=True):
                        sums[distance] = sums.get(distance, 0) + count
    return [(distance, 100 * wrong[distance] / count) for distance, count in sorted(pixels.items()) if count]


def _series(rows: Sequence[Row]) -> list[Series]:
    return split_series(rows, varying=("seed",), shown=(*_CONDITIONS, "device", "teacher_sha256", "kernels"))


def _data(rows: Sequence[Row]) -> str:
    params = rows[0].cell.params
    words = DATA_WORDS.get(str(params.get("data")), str(params.get("data")))
    sets = sorted({name.removesuffix(_PIXELS) for row in rows for name in row.samples if name.endswith(_PIXELS)})
    return f"{words[:1].upper()}{words[1:]}: {', '.join(sets)}"


def _panel(ax: Axes, title: str, series: Sequence[Series]) -> None:
    for index, (one, label) in enumerate(zip(series, short_labels(series), strict=True)):
        shares = error_shares(one.rows)
        points = [(distance, share) for distance, share in shares if share >= FLOOR]
        ax.plot(*zip(*points, strict=True), label=label, **line_style(index)) if points else None
    ax.set_xscale("log")
    ax.set_yscale("log")
    label_decades(ax.xaxis)
    label_decades(ax.yaxis)
    ax.set_xlabel("distance to the true edge, up to (% of the diagonal)")
    ax.set_ylabel("wrong pixels (%, log scale)")
    ax.set_title(wrapped(title), loc="left")
    legend_below(ax)
