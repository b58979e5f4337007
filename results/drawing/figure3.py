"""Figure 3: latency over input resolution, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..published import PublishedTable, load_published
from ..schema import Row
from ..series import Series
from ..statistics import growth_exponent
from ..tabling.latency import Panel, growth, panels
from ..tabling.latency_values import latency_interval, noise_note
from .canvas import legend_below, line_style, wrapped
from .plots import save_plots
from .resolution_panel import (
    Styles,
    draw_panel,
    finish_axes,
    over_resolution,
    plot_over_resolution,
    series_styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNIT = "latency (ms, log scale)"
_EXPONENT = "p: latency grows as tokens$^p$."


def figure3(rows: Sequence[Row], folder: Path, *, published: bool = True) -> list[Path]:
    """Draw `figure3`: a panel for each device and setting, and one of the numbers that the paper's text gives.

    Sizes that ran out of memory or were skipped are crosses at the upper edge; bars are 95 % intervals; the legend
    gives the exponents of latency over tokens and the noise floor.
    """
    found = [panel for panel in panels(rows) if any(latency_interval(row) for one in panel.series for row in one.rows)]
    if not found:
        return []
    table = load_published()["figure3"] if published else None
    found = over_resolution(found)
    styles = _styles(found, table)
    plots = []
    for panel in found:
        notes = [f"{_EXPONENT} Bars: 95 % intervals.", noise_note(panel.noise)]
        draw = partial(draw_panel, measure=latency_interval, unit=_UNIT, notes=notes, label=_fitted)
        plots.append(plot_over_resolution(partial(draw, panel=panel, styles=styles), map(_fitted, panel.series)))
    if table:
        labels = [row.label for row in table.rows]
        plots.append(plot_over_resolution(partial(_published_panel, table=table, styles=styles), labels))
    return save_plots(plots, folder, "figure3")


def _styles(found: Sequence[Panel], table: PublishedTable | None) -> dict[str, dict[str, Any]]:
    """A printed row looks like the measured series of its model."""
    backbones = {one.label: one.backbone for panel in found for one in panel.series}
    styles = series_styles(found)
    for row in table.rows if table else ():
        same = next((label for label in styles if backbones.get(label) in row.names), None)
        styles[row.label] = styles[same] if same else line_style(len(styles))
    return styles


def _published_panel(ax: Axes, table: PublishedTable, styles: Styles) -> None:
    """Latency as 1000 over the printed frames a second."""
    sizes = sorted(int(column.partition("/")[0]) for column in table.columns if column.endswith("/fps"))
    for row in table.rows:
        times = [1000 / row.values[f"{size}/fps"] for size in sizes]
        fit = growth_exponent([(size / 16) ** 2 for size in sizes], times)
        ax.plot(sizes, times, label=_label(row.label, fit.exponent), markerfacecolor="none", **styles[row.label])
    finish_axes(ax, sizes, _UNIT)
    ax.set_title(wrapped(f"Paper: {table.device}, 1000 / FPS of its text; precision and batch not stated"), loc="left")
    legend_below(ax, title=f"{_EXPONENT} Of two points each.")


def _fitted(series: Series) -> str:
    fit = growth(series)
    return series.label if fit is None else _label(series.label, fit.exponent)


def _label(name: str, exponent: float) -> str:
    return f"{name}: p = {exponent:.2f}"
