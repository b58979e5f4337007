"""Figure of the operators: times of all implementations against the least time, a panel for each operator and pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import Row
from ..tabling.kernels import Panel, Work, kernel_panels, kernel_time, shape_label
from .canvas import MARKERS, PAGE, PALETTE, label_decades, open_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ("forward", "backward")
_LINE_INCHES = 0.4
_FRAME_INCHES = 0.75


def kernels_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `kernels.png` and `.svg`: a line of panels for each device and operator, forward left, backward right.

    In a panel each line is one shape, dtype and number of threads, each marker an implementation at its time
    (logarithmic), and the black bar the least time that the machine's rates allow. Wrong and unsupported
    implementations have no marker.
    """
    panels = [panel for panel in kernel_panels(rows) if any(kernel_time(row) for row in _rows(panel.works))]
    if not panels:
        return []
    backends = sorted({str(row.cell.params["backend"]) for panel in panels for row in _rows(panel.works)})
    heights = [_FRAME_INCHES + _LINE_INCHES * max(len(_lines(panel, name)) for name in _DIRECTIONS) for panel in panels]
    mean = sum(heights) / len(heights)
    with open_figure(len(panels), width=PAGE, height=mean, columns=2, shares=heights) as (figure, axes):
        for index, panel in enumerate(panels):
            for place, direction in enumerate(_DIRECTIONS):
                _panel(axes[2 * index + place], panel, direction, backends)
        marks = {label: mark for ax in axes for mark, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        order = [name for name in [*backends, "roofline"] if name in marks]
        figure.legend([marks[name] for name in order], order, loc="outside upper center", ncols=len(order))
        return save_figure(figure, folder, "kernels")


def _rows(works: Sequence[Work]) -> list[Row]:
    return [row for work in works for row in work.rows]


def _lines(panel: Panel, direction: str) -> list[Work]:
    return [work for work in panel.works if work.params["direction"] == direction]


def _panel(ax: Axes, panel: Panel, direction: str, backends: list[str]) -> None:
    works = _lines(panel, direction)
    if not any(kernel_time(row) for row in _rows(works)):
        ax.set_axis_off()
        return
    for line, work in enumerate(works):
        for row in work.rows:
            time = kernel_time(row)
            if time is None:
                continue
            index = backends.index(str(row.cell.params["backend"]))
            style: dict[str, Any] = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
            bars = [[time.value - time.low], [time.high - time.value]]
            ax.errorbar([time.value], [line], xerr=bars, label=backends[index], linestyle="", markersize=3.5, **style)
        bounds = [row.metrics["bound_ms"] for row in work.rows if kernel_time(row) and row.metrics.get("bound_ms")]
        if bounds:
            ax.plot(
                [min(bound for bound in bounds if bound is not None)],
                [line],
                label="roofline",
                color="black",
                marker="|",
                markersize=8,
                linestyle="",
            )
    ax.set_yticks(range(len(works)), [_name(work) for work in works], fontsize=5.5)
    ax.set_ylim(len(works) - 0.5, -0.5)
    ax.set_xscale("log")
    label_decades(ax.xaxis)
    ax.set_xlabel("time of a call (ms, log scale)")
    ax.set_title(f"{panel.operator}, {direction}\n{panel.device}", loc="left")


def _name(work: Work) -> str:
    facts = [str(work.params["dtype"])]
    threads = work.params["threads"]
    facts += [] if threads is None else [f"{threads} thread" + "s" * (threads > 1)]
    facts += ["graph"] if work.params["launch"] == "graph" else []
    name, _, sizes = shape_label(work.params).partition(" (")
    return f"{name}\n{sizes.rstrip(')')}\n{', '.join(facts)}"
