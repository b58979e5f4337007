"""A panel of something over input resolution: a line for each series, crosses for sizes that could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..schema import Row
from ..series import Series, mark
from ..statistics import Interval
from ..tabling.latency import Panel
from .canvas import COLUMN, label_decades, label_sizes, legend_below, legend_inches, line_style, wrapped
from .plots import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Styles = Mapping[str, dict[str, Any]]
Measure = Callable[[Row], Interval | None]

_AXES_INCHES = 2.1
_FRAME_INCHES = 0.95
_MARK_STEP = 0.055
_MISSING = ("oom", "skipped")


def plot_over_resolution(draw: Callable[[Axes], None], labels: Iterable[str]) -> Plot:
    """A panel with a legend of these labels below it."""
    return Plot(draw, _AXES_INCHES, _FRAME_INCHES + legend_inches(labels))


def over_resolution(panels: Sequence[Panel]) -> list[Panel]:
    """What has a line to draw: of each device the series with more than one size, or all where there is none such."""
    lines = [panel._replace(series=[one for one in panel.series if _sizes(one) > 1]) for panel in panels]
    drawn = {panel.device for panel in lines if panel.series}
    return [
        line if panel.device in drawn else panel
        for panel, line in zip(panels, lines, strict=True)
        if line.series or panel.device not in drawn
    ]


def _sizes(series: Series) -> int:
    return len({row.cell.params["res"] for row in series.rows})


def series_styles(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """One look for each label in all panels."""
    labels = sorted({one.label for panel in panels for one in panel.series})
    return {label: line_style(index) for index, label in enumerate(labels)}


def draw_panel(
    ax: Axes,
    panel: Panel,
    styles: Styles,
    *,
    measure: Measure,
    unit: str,
    notes: Sequence[str],
    label: Callable[[Series], str] = lambda one: one.label,
) -> None:
    """Draw one panel.

    Args:
        ax: Where.
        panel: What.
        styles: Look of each label.
        measure: The number of a row with its interval, in `unit`; None where it has none.
        unit: Name of the vertical axis with its unit.
        notes: Sentences above the legend.
        label: What the legend says of a series.
    """
    sizes = sorted({int(row.cell.params["res"]) for one in panel.series for row in one.rows})
    for one in panel.series:
        points = sorted((int(row.cell.params["res"]), found) for row in one.rows if (found := measure(row)))
        y = [found.value for _, found in points]
        bars = [[found.value - found.low for _, found in points], [found.high - found.value for _, found in points]]
        shown = bars if any(map(any, bars)) else None
        ax.errorbar([size for size, _ in points], y, yerr=shown, label=label(one), capsize=1.5, **styles[one.label])
    finish_axes(ax, sizes, unit)
    if _mark_missing(ax, panel, styles):
        notes = [*notes, "Crosses: out of memory (OOM), or not tried beyond it."]
    ax.set_title(wrapped(panel.describe()), loc="left")
    legend_below(ax, title="\n".join(notes))


def finish_axes(ax: Axes, sizes: Sequence[int], unit: str) -> None:
    """Logarithmic axes, resolution over `unit`."""
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    label_sizes(ax.xaxis, sizes, inches=COLUMN - 0.8)
    label_decades(ax.yaxis)
    ax.set_xlabel("input resolution (pixels)")
    ax.set_ylabel(unit)


def _mark_missing(ax: Axes, panel: Panel, styles: Styles) -> bool:
    """A line of crosses for each series that lacks sizes, above all curves; whether there is one."""
    lacking = [(one, [row for row in one.rows if row.status in _MISSING]) for one in panel.series]
    lacking = [(one, missing) for one, missing in lacking if missing]
    if not lacking:
        return False
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** (_MARK_STEP * (len(lacking) + 1)))
    for line, (one, missing) in enumerate(lacking):
        height = 1 - _MARK_STEP * (line + 1)
        sizes = sorted(int(row.cell.params["res"]) for row in missing)
        look = {"color": styles[one.label]["color"], "transform": ax.get_xaxis_transform()}
        ax.plot(sizes, [height] * len(sizes), "x", markersize=3.5, **look)
        first = min(missing, key=lambda row: int(row.cell.params["res"]))
        place = (sizes[0], height)
        text = ax.annotate(mark(first.status), place, (-4, -2), ax.get_xaxis_transform(), "offset points", fontsize=6)
        text.set_horizontalalignment("right")
    return True
