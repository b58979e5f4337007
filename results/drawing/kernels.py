"""Figure of the operators: times of all implementations against the least time, a panel for each operator and pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import Row
from ..tabling.kernels import Panel, Work, kernel_panels, kernel_time, shape_label
from ..words import counted
from .canvas import MARKERS, PALETTE, label_decades
from .plots import Plot, save_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ("forward", "backward")
_LINE_INCHES = 0.4
_FRAME_INCHES = 0.75


def kernels_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `kernels`, on several pages where need be: a panel for each device, operator and pass that was timed.

    In a panel each line is one shape, dtype and number of threads, each marker an implementation at its time
    (logarithmic), and the black bar the least time that the machine's rates allow. Wrong and unsupported
    implementations have no marker.
    """
    panels = [(panel, name, _lines(panel, name)) for panel in kernel_panels(rows) for name in _DIRECTIONS]
    panels = [one for one in panels if any(kernel_time(row) for row in _rows(one[2]))]
    if not panels:
        return []
    backends = sorted({str(row.cell.params["backend"]) for _, _, works in panels for row in _rows(works)})
    plots = [
        Plot(
            partial(_panel, title=f"{panel.operator}, {name}\n{panel.device}", works=works, backends=backends),
            _LINE_INCHES * len(works),
            _FRAME_INCHES,
        )
        for panel, name, works in panels
    ]
    return save_plots(plots, folder, "kernels", legend=[*backends, "roofline"])


def _rows(works: Sequence[Work]) -> list[Row]:
    return [row for work in works for row in work.rows]


def _lines(panel: Panel, direction: str) -> list[Work]:
    return [work for work in panel.works if work.params["direction"] == direction]


def _panel(ax: Axes, title: str, works: Sequence[Work], backends: Sequence[str]) -> None:
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
    ax.set_xlabel("time of a call (ms, log scale; bars: 95 %)")
    ax.set_title(title, loc="left")


def _name(work: Work) -> str:
    facts = [str(work.params["dtype"])]
    threads = work.params["threads"]
    facts += [] if threads is None else [counted(threads, "thread")]
    facts += ["graph"] if work.params["launch"] == "graph" else []
    name, _, sizes = shape_label(work.params).partition(" (")
    return f"{name}\n{sizes.rstrip(')')}\n{', '.join(facts)}"
