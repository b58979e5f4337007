"""Figures: latency over resolution, learning curves, and a sheet of overlays. Equal rows give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .canvas import MARKERS, PALETTE, label_decades, line_style, open_figure, save_figure
from .latency_table import Panel, growth, panels
from .latency_values import latency_interval, noise_note
from .provenance import device_name
from .schema import Row
from .series import Series, group, mark, split_series
from .store import folder_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class GalleryItem(NamedTuple):
    """One line of the gallery.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        box: `x0, y0, x1, y1` in the image's pixels.
        prediction: `[H, W]` bool.
        truth: `[H, W]` bool.
        title: Written above the line.
    """

    image: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    prediction: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    title: str


def figure3(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw latency over resolution on logarithmic axes into `figure3.png` and `.svg`, a panel for each device.

    Sizes that ran out of memory or were skipped are crosses at the upper edge; bars are 95 % intervals; the legend
    gives growth exponents; the noise floor stands below.
    """
    found = [panel for panel in panels(rows) if any(latency_interval(row) for one in panel.series for row in one.rows)]
    if not found:
        return []
    with open_figure(len(found), width=6.4, height=4.4) as (figure, axes):
        for panel, ax in zip(found, axes, strict=True):
            _latency_panel(ax, panel)
        return save_figure(figure, folder, "figure3", ("png", "svg"))


def _latency_panel(ax: Axes, panel: Panel) -> None:
    sizes = sorted({int(row.cell.params["res"]) for one in panel.series for row in one.rows})
    for index, one in enumerate(panel.series):
        style = line_style(index)
        points = [(int(row.cell.params["res"]), time) for row in one.rows if (time := latency_interval(row))]
        points.sort()
        x = [size for size, _ in points]
        y = [time.value for _, time in points]
        bars = [[time.value - time.low for _, time in points], [time.high - time.value for _, time in points]]
        fit = growth(one)
        label = one.label if fit is None else f"{one.label}:  latency ~ tokens$^{{{fit.exponent:.2f}}}$"
        ax.errorbar(x, y, yerr=bars, label=label, capsize=2.5, linewidth=1.5, markersize=4.5, **style)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    _mark_missing(ax, panel)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.minorticks_off()
    label_decades(ax.yaxis)
    ax.set_xlabel(f"input resolution (pixels, square)\nBars: 95 % intervals. {noise_note(panel.noise)}", fontsize=8)
    ax.set_ylabel("latency (ms, log scale)")
    ax.set_title(panel.describe(), fontsize=9, loc="left")
    ax.legend(loc="upper left", fontsize=8)


def _mark_missing(ax: Axes, panel: Panel) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * 2.2)  # room for the legend and for the crosses
    for index, one in enumerate(panel.series):
        for row in one.rows:
            if row.status in ("oom", "skipped"):
                place = (int(row.cell.params["res"]), 0.97 - 0.04 * index)
                ax.plot(*place, "x", color=PALETTE[index % 8], markersize=8, transform=ax.get_xaxis_transform())
                ax.annotate(mark(row.status), place, (6, -3), ax.get_xaxis_transform(), "offset points", fontsize=7)


def learning_curves(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw `curve-<backbone>-<data>.png` and `.svg` for each backbone and data whose rows hold `curve/*` samples.

    `curve/<name>` is drawn over `curve/<name>_step` where there is one, else over `curve/step`; one panel a name, one
    line a row. Nulls are left out.

    Raises:
        UsageError: A curve has not as many values as steps.
    """
    curved = [row for row in rows if _curve_names(row)]
    paths = []
    for (backbone, data), members in group(curved, lambda row: (row.cell.backbone, row.cell.params.get("data"))):
        series = split_series(members, varying=(), shown=("dataset_fingerprints", "train_fingerprints"))
        names = sorted({name for row in members for name in _curve_names(row)}, key=lambda name: (name != "loss", name))
        columns = min(2, len(names))
        with open_figure(-(-len(names) // columns), width=4.4 * columns, height=2.4, columns=columns) as (figure, axes):
            for name, ax in zip(names, axes, strict=False):
                _curve_panel(ax, name, series)
            for ax in axes[len(names) :]:
                ax.set_axis_off()
            devices = ", ".join(sorted({device_name(row) for row in members}))
            figure.suptitle(f"{backbone}, {data} data, {devices}", fontsize=9)
            paths += save_figure(figure, folder, f"curve-{folder_name(backbone)}-{data}", ("png", "svg"))
    return paths


def _curve_names(row: Row) -> list[str]:
    names = [key.removeprefix("curve/") for key in row.samples if key.startswith("curve/")]
    return [name for name in names if name != "step" and not name.endswith("_step")]


def _curve_panel(ax: Axes, name: str, series: Sequence[Series]) -> None:
    for index, one in enumerate(series):
        for row in one.rows:
            values = row.samples.get(f"curve/{name}")
            if values is None:
                continue
            steps = row.samples.get(f"curve/{name}_step", row.samples.get("curve/step", []))
            if len(steps) != len(values):
                raise UsageError(f"row {row.cell.key}: curve/{name} has {len(values)} values for {len(steps)} steps")
            points = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
            marker = MARKERS[index % 8] if len(points) <= 40 else None
            style = {**line_style(index), "marker": marker}
            ax.plot(
                *zip(*points, strict=True), label=one.label, linewidth=1.2, markersize=3.5, **style
            ) if points else None
    ax.set_ylabel(name.replace("_", " "))
    ax.set_xlabel("step")
    if len(series) > 1:
        ax.legend(fontsize=7)


def gallery(items: Sequence[GalleryItem], path: Path) -> Path:
    """Draw a contact sheet, one line an item: image, image with its box, prediction, truth.

    Raises:
        UsageError: There is no item, or a mask has another size than its image.
        StoreError: The folder cannot be written.
    """
    if not items:
        raise UsageError("a gallery needs at least one image")
    for item in items:
        if not item.image.shape[:2] == item.prediction.shape == item.truth.shape:
            raise UsageError(f"{item.title}: image and masks differ in size")
    width, caption, tallest = 9.6, 0.35, 2.0
    ratios = [min(item.image.shape[0] / item.image.shape[1], tallest) for item in items]
    heights = [width / 4 * ratio + caption for ratio in ratios]
    mean = sum(heights) / len(heights)
    with open_figure(len(items), width=width, height=mean, columns=4, shares=heights) as (figure, axes):
        for index, item in enumerate(items):
            _gallery_line(axes[4 * index : 4 * index + 4], item, heads=index == 0)
        return save_figure(figure, path.parent, path.stem, (path.suffix.lstrip(".") or "png",))[0]


def _gallery_line(axes: Sequence[Axes], item: GalleryItem, *, heads: bool) -> None:
    from matplotlib.patches import Rectangle

    pictures = (
        item.image,
        item.image,
        overlay(item.image, item.prediction, PALETTE[1]),
        overlay(item.image, item.truth, PALETTE[0]),
    )
    for ax, picture, head in zip(axes, pictures, ("image", "box", "prediction", "truth"), strict=True):
        ax.imshow(picture, interpolation="antialiased")
        ax.set_axis_off()
        if heads:
            ax.set_title(head, fontsize=9)
    x0, y0, x1, y1 = item.box
    axes[1].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=PALETTE[4], linewidth=1.5))
    caption = axes[0].text(0, -0.03, item.title, transform=axes[0].transAxes, fontsize=7, va="top")
    caption.set_in_layout(False)  # it may run on below the next picture


def overlay(image: NDArray[np.uint8], mask: NDArray[np.bool_], color: str) -> NDArray[np.uint8]:
    """The image `[H, W, 3]`, grey outside the mask and tinted inside it."""
    from matplotlib.colors import to_rgb

    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.6
    tint = 0.45 * image + 0.55 * 255 * np.array(to_rgb(color))
    return np.where(mask[..., None], tint, grey).astype(np.uint8)
