"""A panel of quality over speed: one marker a system, its area the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .canvas import label_decades, legend_below, legend_inches, marker_style, wrapped
from .plots import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES_INCHES = 1.9
_FRAME_INCHES = 0.95
_UNKNOWN_AREA = 14.0


class Point(NamedTuple):
    """A system.

    Attributes:
        label: Its name.
        x: Speed.
        y: Quality.
        parameters: In millions; None where not known.
        look: What shares its colour and marker in all panels.
    """

    label: str
    x: float
    y: float
    parameters: float | None
    look: str


class Cloud(NamedTuple):
    """What one panel shows."""

    title: str
    x_unit: str
    y_unit: str
    points: Sequence[Point]
    hollow: bool = False


def cloud_plots(clouds: Sequence[Cloud]) -> list[Plot]:
    """The panels, legends below them included."""
    looks = sorted({point.look for cloud in clouds for point in cloud.points})
    styles = {look: marker_style(index) for index, look in enumerate(looks)}
    return [
        Plot(
            partial(_draw_cloud, cloud=cloud, styles=styles),
            _AXES_INCHES,
            _FRAME_INCHES + legend_inches(_told(point) for point in cloud.points),
        )
        for cloud in clouds
    ]


def _told(point: Point) -> str:
    return point.label + ("" if point.parameters is None else f" ({point.parameters:.1f} M)")


def _draw_cloud(ax: Axes, cloud: Cloud, styles: Mapping[str, dict[str, Any]]) -> None:
    """Draw one panel; the legend below names the systems with their parameters."""
    from matplotlib.collections import PathCollection

    for point in cloud.points:
        style = styles[point.look]
        area = _UNKNOWN_AREA if point.parameters is None else 8 + 1.2 * point.parameters**0.75
        fill = "none" if cloud.hollow else style["color"]
        ax.scatter(
            point.x,
            point.y,
            s=area,
            marker=style["marker"],
            facecolors=fill,
            edgecolors=style["color"],
            linewidths=0.8,
            alpha=0.9,
            label=_told(point),
        )
    ax.set_xscale("log")
    ax.margins(0.12)
    if len({point.x for point in cloud.points}) == 1:
        ax.set_xlim(cloud.points[0].x / 2, cloud.points[0].x * 2)
    label_decades(ax.xaxis)
    ax.set_xlabel(cloud.x_unit)
    ax.set_ylabel(wrapped(cloud.y_unit, _AXES_INCHES))
    ax.set_title(wrapped(cloud.title), loc="left")
    legend = legend_below(ax, title="Larger markers: more parameters of the backbone (in brackets, millions).")
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([_UNKNOWN_AREA])
