"""Figures of several panels, none larger than a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .canvas import CHARACTERS, COLUMN, PAGE, PAGE_HEIGHT, bare_handle, open_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE_INCHES = 0.16
_HANDLE_CHARACTERS = 8


class Plot(NamedTuple):
    """A panel.

    Attributes:
        draw: Draws it.
        height: Of its axes, in inches.
        frame: Height of what stands around them: title, labels, legend.
    """

    draw: Callable[[Axes], None]
    height: float
    frame: float


def save_plots(
    plots: Sequence[Plot], folder: Path, stem: str, *, title: str | None = None, legend: Sequence[str] = ()
) -> list[Path]:
    """Write the plots two abreast, a single one in a column's width; what a page has no room for goes to `<stem>-2`.

    Args:
        plots: From left to right, line by line.
        folder: Of the files.
        stem: Their name.
        title: Above all plots.
        legend: Labels that stand once, below all plots of a page, in this order.

    Raises:
        StoreError: The folder cannot be written.
    """
    columns = min(2, len(plots))
    width = COLUMN if columns == 1 else PAGE
    abreast = _abreast(legend, width)
    around = _LINE_INCHES * (bool(title) + (-(-len(legend) // abreast) + 1 if legend else 0))
    paths: list[Path] = []
    for number, page in enumerate(_pages(plots, columns, PAGE_HEIGHT - around), 1):
        heights = [max(plot.height for plot in line) for line in page]
        whole = around + sum(_line_height(line) for line in page)
        with open_figure(len(page), width=width, height=whole / len(page), columns=columns, shares=heights) as opened:
            figure, axes = opened
            for line, plots_of_line in enumerate(page):
                for plot, ax in zip(plots_of_line, axes[columns * line :], strict=False):
                    plot.draw(ax)
            for ax in axes[sum(map(len, page)) :]:
                ax.set_axis_off()
            if title:
                figure.suptitle(title, fontsize=7)
            _add_legend(figure, axes, legend, abreast)
            paths += save_figure(figure, folder, stem if number == 1 else f"{stem}-{number}")
    return paths


def _line_height(line: Sequence[Plot]) -> float:
    return max(plot.height for plot in line) + max(plot.frame for plot in line)


def _pages(plots: Sequence[Plot], columns: int, room: float) -> Iterator[list[Sequence[Plot]]]:
    """Lines of plots that together are no higher than `room`; a line that is higher has a page of its own."""
    page: list[Sequence[Plot]] = []
    for start in range(0, len(plots), columns):
        line = plots[start : start + columns]
        if page and sum(map(_line_height, [*page, line])) > room:
            yield page
            page = []
        page.append(line)
    yield page


def _abreast(labels: Sequence[str], width: float) -> int:
    """How many labels fit side by side."""
    longest = max(map(len, labels), default=1) + _HANDLE_CHARACTERS
    return max(1, min(len(labels), int(width * CHARACTERS / longest)))


def _add_legend(figure: Figure, axes: Sequence[Axes], labels: Sequence[str], abreast: int) -> None:
    known = {
        label: bare_handle(handle) for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    there = [label for label in labels if label in known]
    if there:
        handles = [known[label] for label in there]
        figure.legend(handles, there, loc="outside lower center", ncols=min(abreast, len(there)))
