"""The look of every figure, and files of it that are the same bytes on every run."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import StoreError
from ..files import write_atomic
from .drawn import drawn_digest
from .marks import digest_mark, is_sealed, sealed, told_digest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# Okabe and Ito's palette: told apart with any colour vision; markers and dashes tell the lines apart in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
COLUMN = 3.3  # inches, of a column of a two-column paper; figures are drawn at the size they are printed at
PAGE = 6.9  # inches, of both columns
PAGE_HEIGHT = 9.0  # inches, with room for a caption on letter paper
CHARACTERS = 16.5  # of a legend or title to an inch
PRINTED = 300  # dots an inch
FORMATS = ("png", "svg", "pdf")
_LEGEND_LINE = 0.135  # inches
_FEWEST = 4
_PARTS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0))
STYLE: dict[str, Any] = {
    "svg.hashsalt": "linbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.grid.which": "major",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.4,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "savefig.dpi": "figure",
}


def marker_style(index: int) -> dict[str, Any]:
    """Colour and marker number `index`; 64 are told apart."""
    shift = index // len(PALETTE)
    return {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[(index + shift) % len(MARKERS)]}


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line number `index`."""
    return {
        **marker_style(index),
        "linestyle": DASHES[index // len(PALETTE) % len(DASHES)] if index >= len(PALETTE) else DASHES[index % 2],
    }


@contextmanager
def open_figure(
    lines: int,
    *,
    width: float,
    height: float,
    columns: int = 1,
    shares: Sequence[float] | None = None,
    dpi: int = PRINTED,
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `lines` x `columns` panels, line by line.

    Args:
        lines: Panels from top to bottom.
        width: Of the figure, in inches.
        height: Of a line, in inches; their mean, where `shares` gives each line its share.
        columns: Panels from left to right.
        shares: Relative height of each line; equal where None.
        dpi: Dots an inch of a picture in dots.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change the bytes
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height * lines), dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(lines, columns, squeeze=False, height_ratios=shares).flat)


def label_decades(axis: Axis) -> None:
    """Mark a logarithmic axis in plain numbers: the decades, or what parts of them give `_FEWEST` marks in view."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    low, high = sorted(axis.get_view_interval())
    locators = [LogLocator(base=10, subs=parts) for parts in _PARTS]
    even = MaxNLocator(_FEWEST + 1, steps=[1, 2, 2.5, 5, 10])

    def count(locator: LogLocator) -> int:
        return sum(low <= place <= high for place in locator.tick_values(low, high))

    axis.set_major_locator(next((one for one in locators if count(one) >= _FEWEST), even))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def save_figure(
    figure: Figure,
    folder: Path,
    stem: str,
    suffixes: Sequence[str] = FORMATS,
    *,
    png_text: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all, without dates in them.

    Each file carries the digest of what is drawn in it, by which `bench report --check` knows it: pictures of the same
    data differ in bytes between releases of matplotlib and of font libraries. A seal of its bytes tells whether it was
    changed since. A file that is there with the digest and whole is left as it is: rendering takes nearly all of a
    report's time.

    Args:
        figure: Drawn already.
        folder: Of the files.
        stem: Their name.
        suffixes: Their formats.
        png_text: Further texts that a PNG file carries, by key.

    Raises:
        StoreError: The folder cannot be written.
    """
    digest = drawn_digest(figure, {name: str(value) for name, value in STYLE.items()})
    mark = digest_mark(digest)
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": None, "Description": mark, **(png_text or {})},
        "svg": {"Date": None, "Creator": "linbench", "Description": mark},
        "pdf": {"CreationDate": None, "Creator": "linbench", "Producer": None, "Subject": mark},
    }
    paths = [folder / f"{stem}.{suffix}" for suffix in suffixes]
    stale = [path for path in paths if not _is_current(path, digest)]
    if stale:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found once, not for each format
    for path in stale:
        suffix = path.suffix.lstrip(".")
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=metadata[suffix])
        try:
            write_atomic(path, sealed(buffer.getvalue()), overwrite=True)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; give a writable folder") from error
    return paths


def _is_current(path: Path, digest: str) -> bool:
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return told_digest(data) == digest and is_sealed(data)


def wrapped(text: str, width: float = COLUMN - 0.4) -> str:
    """The text in lines that fit `width` inches; by default those beside an axis in a column."""
    return textwrap.fill(text, int(width * CHARACTERS), break_long_words=False)


def legend_below(ax: Axes, *, title: str | None = None, gap: float = 0.36) -> Legend:
    """The legend under the axis, `gap` inches below it, where it covers nothing; its lines fit a column."""
    from matplotlib.transforms import offset_copy

    handles, labels = ax.get_legend_handles_labels()
    return ax.legend(
        [bare_handle(handle) for handle in handles],
        [wrapped(label) for label in labels],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=offset_copy(ax.transAxes, ax.get_figure(), 0, -gap, units="inches"),  # type: ignore[arg-type]
        borderaxespad=0,
        borderpad=0.2,
        title=None if title is None else "\n".join(wrapped(line, COLUMN - 0.1) for line in title.splitlines()),
        alignment="left",
    )


def legend_inches(labels: Iterable[str]) -> float:
    """Height of what `legend_below` makes of labels, without its title."""
    return _LEGEND_LINE * sum(wrapped(label).count("\n") + 1 for label in labels)


def bare_handle(handle: Any) -> Any:
    """What stands in a legend for something drawn: a line with error bars without these."""
    from matplotlib.container import ErrorbarContainer

    return handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle


def label_sizes(axis: Axis, sizes: Sequence[int], *, inches: float) -> None:
    """Tick every size on a logarithmic axis of that length; of the labels, those that do not touch the one before."""
    from matplotlib.ticker import NullLocator

    room = math.log2(sizes[-1] / sizes[0]) or 1.0
    shown: list[int] = []
    for size in sizes:
        if not shown or math.log2(size / shown[-1]) / room * inches >= 0.058 * (len(str(size)) + 1):
            shown.append(size)
    axis.set_ticks(list(sizes), [str(size) if size in shown else "" for size in sizes])
    axis.set_minor_locator(NullLocator())
