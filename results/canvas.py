"""The look of every figure, and files of it that are the same bytes on every run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision; markers and dashes tell the lines apart in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
STYLE: dict[str, Any] = {
    "svg.hashsalt": "linbench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.grid": True,
    "axes.grid.which": "major",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
}


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line number `index`."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(PALETTE) % len(DASHES)] if index >= len(PALETTE) else DASHES[index % 2],
    }


@contextmanager
def open_figure(
    lines: int, *, width: float, height: float, columns: int = 1, shares: Sequence[float] | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `lines` x `columns` panels, line by line.

    Args:
        lines: Panels from top to bottom.
        width: Of the figure, in inches.
        height: Of a line, in inches; their mean, where `shares` gives each line its share.
        columns: Panels from left to right.
        shares: Relative height of each line; equal where None.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change the bytes
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height * lines), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(lines, columns, squeeze=False, height_ratios=shares).flat)


def label_decades(axis: Axis) -> None:
    """Mark 1, 2 and 5 of every decade of a logarithmic axis, in plain numbers."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def save_figure(figure: Figure, folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all, without dates in them.

    Raises:
        StoreError: The folder cannot be written.
    """
    paths = []
    for suffix in suffixes:
        buffer = io.BytesIO()
        undated = {"Date": None, "Creator": "linbench"} if suffix == "svg" else {"Software": None}
        figure.savefig(buffer, format=suffix, metadata=undated)
        path = folder / f"{stem}.{suffix}"
        try:
            write_atomic(path, buffer.getvalue(), overwrite=True)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; give a writable folder") from error
        paths.append(path)
    return paths
