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

_NOTE = "Weights and the most that one call uses beside them; the latency table has the whole process too."


def memory_figure(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `memory`: what a model needs over resolution, a panel for each device and setting; crosses as in Figure 3.

    That is weights and the most that one call uses: a CPU process holds hundreds of MiB of libraries beside them, of
    which a GPU's allocator knows nothing.
    """
    found = [panel for panel in panels(rows) if any(_needed(row) for one in panel.series for row in one.rows)]
    if not found:
        return []
    found = over_resolution(found)
    styles = series_styles(found)
    draw = partial(
        draw_panel, styles=styles, measure=_needed, unit="memory of the model (MiB, log scale)", notes=[_NOTE]
    )
    plots = [plot_over_resolution(partial(draw, panel=panel), [one.label for one in panel.series]) for panel in found]
    return save_plots(plots, folder, "memory")


def _needed(row: Row) -> Interval | None:
    weights, activations = row.metrics.get("weights_mib"), row.metrics.get("activations_mib")
    if row.status not in NUMBERED or weights is None or activations is None:
        return None
    needed = weights + activations
    return Interval(needed, needed, needed, 1.0)
