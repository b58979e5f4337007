"""A panel of quality over speed: one marker a system, its area the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .canvas import label_decades, legend_below, marker_style, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES_INCHES = 1.9
_FRAME_INCHES = 0.95
_LINE_INCHES = 0.135
_UNKNOWN_AREA = 14.0


class Point(NamedTuple):
    """A system.

    Attributes:
        label: Its name.
        x: Speed.
        y: Quality.
        parameters: In millions; None where not known.
    """

    label: str
    x: float
    y: float
    parameters: float | None


class Cloud(NamedTuple):
    """What one panel shows."""

    title: str
    x_unit: str
    y_unit: str
    points: Sequence[Point]
    hollow: bool = False


def cloud_heights(clouds: Sequence[Cloud]) -> list[float]:
    """Heights in inches of the panels, their legends below included."""
    return [_AXES_INCHES + _FRAME_INCHES + _LINE_INCHES * len(cloud.points) for cloud in clouds]


def cloud_styles(clouds: Sequence[Cloud]) -> dict[str, dict[str, Any]]:
    """One look for each label in all panels."""
    labels = sorted({point.label for cloud in clouds for point in cloud.points})
    return {label: marker_style(index) for index, label in enumerate(labels)}


def draw_cloud(ax: Axes, cloud: Cloud, styles: Mapping[str, dict[str, Any]]) -> None:
    """Draw one panel; the legend below names the systems with their parameters."""
    from matplotlib.collections import PathCollection

    for point in cloud.points:
        style = styles[point.label]
        area = _UNKNOWN_AREA if point.parameters is None else 8 + 1.2 * point.parameters**0.75
        told = "" if point.parameters is None else f" ({point.parameters:.1f} M)"
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
            label=point.label + told,
        )
    ax.set_xscale("log")
    label_decades(ax.xaxis)
    ax.margins(0.12)
    ax.set_xlabel(cloud.x_unit)
    ax.set_ylabel(wrapped(cloud.y_unit, _AXES_INCHES))
    ax.set_title(wrapped(cloud.title), loc="left")
    legend = legend_below(ax, title="Larger markers: more parameters of the backbone (in brackets, millions).")
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([_UNKNOWN_AREA])
