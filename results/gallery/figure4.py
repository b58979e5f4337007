"""Figure 4: what several systems make of the same image and box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..drawing.canvas import PAGE, PAGE_HEIGHT, PALETTE, open_figure, save_figure, wrapped
from ..provenance import device_name
from ..published import load_published
from ..schema import Row
from ..series import NUMBERED, Series, group, newest, short_labels, split_series
from ..tabling.lines import make_lines
from ..words import DATA_WORDS
from .sheet import overlay
from .tiles import Shown, load_tile, shown_of, unpack_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUITE = "sam-hq"
SYSTEMS = 5
IMAGES = 6
_CONDITIONS = ("data", "datasets", "dataset_fingerprints", "protocol", "limit")
_HEAD, _FOOT, _WIDEST = 0.3, 0.16, 1.2  # inches
_Picture = tuple[str, str, str]


def figure4(rows: Sequence[Row], folder: Path, *, tiles: Path) -> list[Path]:
    """Draw `figure4-<data>`: a line for each image, a column for each system, box first and truth last.

    More than five systems continue in `figure4-<data>-2`, and so on, as many in each. Made of the masks that rows hold
    and of the pictures in `tiles`; images without a picture are left out.
    """

    def key(row: Row) -> tuple[Any, ...]:
        return device_name(row), {name: row.cell.params.get(name) for name in _CONDITIONS}

    mine = [row for row in newest(rows) if row.cell.suite == SUITE and row.status in NUMBERED]
    mine = [row for row in mine if row.cell.params.get("stage") != "before" and shown_of(row)]
    paths: list[Path] = []
    counts: dict[str, int] = {}
    for (device, _), members in group(mine, key):
        kind = str(members[0].cell.params.get("data"))
        pictures = _pictures(members, tiles)
        series = _ordered(members)
        each = -(-len(series) // -(-len(series) // SYSTEMS))
        for start in range(0, len(series) if pictures else 0, each):
            counts[kind] = counts.get(kind, 0) + 1
            stem = f"figure4-{kind}" + (f"-{counts[kind]}" if counts[kind] > 1 else "")
            title = f"{device}, {DATA_WORDS.get(kind, kind)}: one box prompt, masks cut out in colour"
            paths += _draw(series[start : start + each], pictures, title, folder, stem)
    return paths


def _pictures(rows: Sequence[Row], tiles: Path) -> dict[_Picture, NDArray[np.uint8]]:
    """The first images that the most systems show."""
    counts: dict[_Picture, int] = {}
    for row in rows:
        for one in shown_of(row):
            counts[_key(one)] = counts.get(_key(one), 0) + 1
    chosen = sorted(sorted(counts), key=lambda key: -counts[key])[:IMAGES]
    loaded = {key: load_tile(tiles, key[2]) for key in sorted(chosen)}
    return {key: picture for key, picture in loaded.items() if picture is not None}


def _key(one: Shown) -> _Picture:
    return one.set, one.name, one.tile


def _ordered(rows: Sequence[Row]) -> list[Series]:
    """One series a system (of several seeds the first row is shown), in the order of Table 3."""
    series = split_series(rows, varying=("seed",), shown=(*_CONDITIONS, "device", "teacher_sha256", "kernels"))
    return [line.series for line in make_lines(series, load_published()["table3"]) if line.series]


def _draw(
    series: Sequence[Series],
    pictures: Mapping[_Picture, NDArray[np.uint8]],
    title: str,
    folder: Path,
    stem: str,
) -> list[Path]:
    columns = len(series) + 2
    ratios = [min(picture.shape[0] / picture.shape[1], 1.5) for picture in pictures.values()]
    room = PAGE_HEIGHT - _HEAD - _FOOT * len(ratios)
    side = min(PAGE / columns, _WIDEST, room / sum(ratios))
    heights = [side * ratio + _FOOT for ratio in ratios]
    mean = (sum(heights) + _HEAD) / len(heights)
    with open_figure(len(heights), width=side * columns, height=mean, columns=columns, shares=heights, dpi=200) as (
        figure,
        axes,
    ):
        for line, (key, picture) in enumerate(pictures.items()):
            found = [next((one for one in shown_of(found.rows[0]) if _key(one) == key), None) for found in series]
            _line(axes[line * columns : (line + 1) * columns], picture, found)
        heads = ["image and box", *short_labels(series), "truth"]
        for ax, head in zip(axes, heads, strict=False):
            ax.set_title(wrapped(head, side), fontsize=6)
        figure.suptitle(title, fontsize=7)
        return save_figure(figure, folder, stem)


def _line(axes: Sequence[Axes], picture: NDArray[np.uint8], shown: Sequence[Shown | None]) -> None:
    from matplotlib.patches import Rectangle

    for ax in axes:
        ax.set_axis_off()
    there = next(one for one in shown if one is not None) if any(shown) else None
    if there is None:
        return
    size = (picture.shape[0], picture.shape[1])
    axes[0].imshow(picture, interpolation="none")
    x0, y0, x1, y1 = there.box
    axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=PALETTE[4], linewidth=1.0))
    axes[-1].imshow(overlay(picture, unpack_mask(there.truth, size), PALETTE[0]), interpolation="none")
    for ax, one in zip(axes[1:-1], shown, strict=True):
        if one is None:
            ax.text(0.5, 0.5, "-", ha="center", va="center", transform=ax.transAxes)
            continue
        ax.imshow(overlay(picture, unpack_mask(one.mask, size), PALETTE[1]), interpolation="none")
        ax.text(0.5, -0.03, f"IoU {one.iou:.2f}", ha="center", va="top", transform=ax.transAxes, fontsize=6)
