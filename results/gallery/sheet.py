"""A sheet of overlays: what a system made of some images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..drawing.canvas import PALETTE, open_figure, save_figure
from .places import PNG_KEY, describe_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY_STEP = 8


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


def gallery(items: Sequence[GalleryItem], path: Path) -> Path:
    """Draw a contact sheet, one line an item: image, image with its box, prediction, truth.

    A PNG file says where on it they lie; see `places`.

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
    with open_figure(len(items), width=width, height=mean, columns=4, shares=heights, dpi=150) as (figure, axes):
        for index, item in enumerate(items):
            _gallery_line(axes[4 * index : 4 * index + 4], item, heads=index == 0)
        places = {PNG_KEY: describe_places(figure, axes, [item.title for item in items])}
        return save_figure(figure, path.parent, path.stem, (path.suffix.lstrip(".") or "png",), png_text=places)[0]


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
    """The image `[H, W, 3]`, tinted inside the mask; outside it in few steps of grey, which make files small."""
    from matplotlib.colors import to_rgb

    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.6 // _GREY_STEP * _GREY_STEP
    tint = 0.45 * image + 0.55 * 255 * np.array(to_rgb(color))
    return np.where(mask[..., None], tint, grey).astype(np.uint8)
