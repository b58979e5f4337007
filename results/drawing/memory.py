"""Memory over input resolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..schema import Row
from ..series import NUMBERED
from ..statistics import Interval
from ..tabling.latency import panels
from .plots import save_plots
from .resolution_panel import draw_panel, over_resolution, plot_over_resolution, series_styles

_NOTE = "Peak of one process: on a CPU all it holds, on a GPU what the allocator gave out."


def memory_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `memory`: peak memory over resolution, a panel for each device and setting; crosses as in Figure 3."""
    found = [panel for panel in panels(rows) if any(_peak(row) for one in panel.series for row in one.rows)]
    if not found:
        return []
    found = over_resolution(found)
    styles = series_styles(found)
    draw = partial(draw_panel, styles=styles, measure=_peak, unit="peak memory (MiB, log scale)", notes=[_NOTE])
    plots = [plot_over_resolution(partial(draw, panel=panel), [one.label for one in panel.series]) for panel in found]
    return save_plots(plots, folder, "memory")


def _peak(row: Row) -> Interval | None:
    value = row.metrics.get("peak_memory_mib")
    return Interval(value, value, value, 1.0) if row.status in NUMBERED and value else None
