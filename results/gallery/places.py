"""Where the pictures of a contact sheet lie on it: written into its PNG file, read back by the report page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PNG_KEY = "linbench-places"
PARTS = ("image", "box", "prediction", "truth")


class Sheet(NamedTuple):
    """A contact sheet.

    Attributes:
        width: In pixels.
        height: In pixels.
        lines: For each line its `title`, and `x, y, width, height` in pixels of each of `PARTS`, from the upper left
            corner; empty for a sheet whose file does not tell.
    """

    width: int
    height: int
    lines: list[dict[str, object]]


def describe_places(figure: Figure, axes: Sequence[Axes], titles: Sequence[str]) -> str:
    """The places of the pictures in `axes`, four a line, as the text that belongs under `PNG_KEY`."""
    figure.draw_without_rendering()
    height = figure.bbox.height
    lines = []
    for index, title in enumerate(titles):
        boxes = [ax.get_window_extent() for ax in axes[4 * index : 4 * index + 4]]
        places = [[box.x0, height - box.y1, box.width, box.height] for box in boxes]
        parts = zip(PARTS, places, strict=True)
        lines.append({"title": title} | {name: [round(value, 2) for value in place] for name, place in parts})
    return json.dumps(lines)


def read_sheet(path: Path) -> Sheet:
    """Size of a contact sheet and the places that its file tells.

    Raises:
        OSError: The file is not readable as a picture.
    """
    from PIL import Image

    with Image.open(path) as picture:
        width, height = picture.size
        try:
            lines = json.loads(picture.info.get(PNG_KEY, "[]"))
        except (TypeError, ValueError):
            lines = []
    return Sheet(width, height, lines if _is_whole(lines) else [])


def _is_whole(lines: object) -> bool:
    """Whether text that anybody can write into a picture has the shape that the page expects."""
    return isinstance(lines, list) and all(
        isinstance(line, dict) and isinstance(line.get("title"), str) and all(_is_place(line.get(p)) for p in PARTS)
        for line in lines
    )


def _is_place(place: object) -> bool:
    return (
        isinstance(place, list)
        and len(place) == 4
        and all(isinstance(value, (int, float)) and 0 <= value < 1e6 for value in place)
        and place[2] > 0
        and place[3] > 0
    )
