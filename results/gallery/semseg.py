"""A sheet of semantic segmentations: image, truth and prediction in the classes' colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..drawing.canvas import open_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

_COLUMNS = ("image", "truth", "prediction")
_NAMED = 12
_ABREAST = 5
_HEAD, _LEGEND_LINE = 0.3, 0.17  # inches
_GREY = 128
_GOLDEN = 0.6180339887


class SemanticItem(NamedTuple):
    """One line of the sheet.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        truth: `[H, W]` class numbers; above the last class where none is given.
        prediction: `[H, W]` class numbers.
        title: Written below the line.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    title: str


def class_palette(classes: int) -> NDArray[np.uint8]:
    """A colour for each class `[K, 3]`, neighbours far apart in hue; the same for every K."""
    from matplotlib.colors import hsv_to_rgb

    numbers = np.arange(classes)
    hue = numbers * _GOLDEN % 1
    saturation, value = 0.45 + 0.25 * (numbers % 3), 0.95 - 0.2 * (numbers // 3 % 3)
    return np.round(255 * hsv_to_rgb(np.stack([hue, saturation, value], 1))).astype(np.uint8)


def semantic_gallery(items: Sequence[SemanticItem], names: Sequence[str], path: Path) -> Path:
    """Draw a contact sheet, one line an item: image, truth, prediction.

    Below stand the colours of the commonest classes, how many others there are, and that grey is left out of the score.

    Raises:
        UsageError: There is no item, or a map has another size than its image.
        StoreError: The folder cannot be written.
    """
    if not items:
        raise UsageError("a gallery needs at least one image")
    for item in items:
        if not item.image.shape[:2] == item.truth.shape == item.prediction.shape:
            raise UsageError(f"{item.title}: image and classes differ in size")
    palette = class_palette(len(names))
    patches, title = _legend(items, names, palette)
    width, caption, tallest = 7.2, 0.3, 2.0
    ratios = [min(item.image.shape[0] / item.image.shape[1], tallest) for item in items]
    heights = [width / len(_COLUMNS) * ratio + caption for ratio in ratios]
    legend = _LEGEND_LINE * (2 + -(-len(patches) // _ABREAST))
    mean = (sum(heights) + _HEAD + legend) / len(heights)
    with open_figure(len(items), width=width, height=mean, columns=len(_COLUMNS), shares=heights) as (figure, axes):
        for index, item in enumerate(items):
            _line(axes[len(_COLUMNS) * index :][: len(_COLUMNS)], item, palette, heads=index == 0)
        figure.legend(handles=patches, loc="outside lower center", ncols=_ABREAST, title=title)
        return save_figure(figure, path.parent, path.stem, (path.suffix.lstrip(".") or "png",))[0]


def painted(classes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class numbers `[H, W]` in their colours `[H, W, 3]`; grey where there is none."""
    table = np.full((256, 3), _GREY, np.uint8)
    table[: len(palette)] = palette
    return table[classes]


def _line(axes: Sequence[Axes], item: SemanticItem, palette: NDArray[np.uint8], *, heads: bool) -> None:
    pictures = (item.image, painted(item.truth, palette), painted(item.prediction, palette))
    for ax, picture, head in zip(axes, pictures, _COLUMNS, strict=True):
        ax.imshow(picture, interpolation="antialiased")
        ax.set_axis_off()
        if heads:
            ax.set_title(head, fontsize=9)
    caption = axes[0].text(0, -0.03, item.title, transform=axes[0].transAxes, fontsize=7, va="top")
    caption.set_in_layout(False)  # it may run on below the next picture


def _legend(items: Sequence[SemanticItem], names: Sequence[str], palette: NDArray[np.uint8]) -> tuple[list[Patch], str]:
    """What the legend shows, and its title."""
    from matplotlib.patches import Patch

    maps = [plane.ravel() for item in items for plane in (item.truth, item.prediction)]
    counts = np.bincount(np.concatenate(maps), minlength=256)
    order = np.argsort(-counts[: len(names)], kind="stable")
    shown = [int(number) for number in order if counts[number]]
    patches = [Patch(color=_rgb(palette[number]), label=names[number]) for number in shown[:_NAMED]]
    if counts[len(names) :].any():
        patches.append(Patch(color=_rgb((_GREY, _GREY, _GREY)), label="no class given: not scored"))
    more = len(shown) - _NAMED
    return patches, "The commonest classes" + (f"; {more} more in colours of their own" if more > 0 else "")


def _rgb(levels: Iterable[int]) -> tuple[float, float, float]:
    red, green, blue = (int(level) / 255.0 for level in levels)
    return red, green, blue
