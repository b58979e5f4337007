"""The pictures of the page: predictions that rows hold, set side by side, and the contact sheets of the folder."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..gallery.places import read_sheet
from ..gallery.tiles import TILES, Shown, load_tile, shown_of, unpack_mask
from ..schema import Row
from ..series import NUMBERED
from ..tabling.lines import STAGES
from .places import Places

EMBEDDED_BYTES = 4 * 2**20
# Other data may be photographs, which have licences of their own: a page that is passed on must not carry them.
_DEMO = "demo-"
_DEMO_SHEETS = tuple(f"-demo-{stage}" for stage in STAGES)


def compared_pictures(rows: Sequence[Row], places: Places, out_dir: Path) -> list[dict[str, Any]]:
    """Every image that rows hold predictions of, with the predictions of all of them; none without its picture.

    Args:
        rows: The newest rows; see `tiles.shown_of`.
        places: Of these rows.
        out_dir: Folder of the page; pictures lie in its `tiles/`.
    """
    embedding = _Embedding()
    found: dict[tuple[str, str, str], list[tuple[Row, Shown]]] = {}
    for row in rows:
        for shown in shown_of(row) if row.status in NUMBERED else ():
            found.setdefault((shown.set, shown.name, shown.tile), []).append((row, shown))
    pictures = []
    for (data_set, name, tile), members in sorted(found.items(), key=lambda item: item[0]):
        loaded = load_tile(out_dir / TILES, tile)
        if loaded is None:
            continue
        size = (loaded.shape[0], loaded.shape[1])
        path = out_dir / TILES / f"{Path(tile).name}.png"
        source = embedding.source(path, f"{TILES}/{path.name}", free=tile.startswith(_DEMO))
        predictions = [
            {"row": places.of(row), "mask": _mask_uri(one.mask, size), "iou": one.iou, "biou": one.biou}
            for row, one in members
        ]
        first = members[0][1]
        pictures.append(
            {"title": f"{data_set} {name}", "src": source, "width": size[1], "height": size[0]}
            | {"box": list(first.box), "truth": _mask_uri(first.truth, size), "predictions": predictions}
        )
    return pictures


def gallery_sheets(out_dir: Path) -> list[dict[str, Any]]:
    """Every `figures/gallery-*.png` under `out_dir`, by name; one that is no picture has its reason in `problem`."""
    embedding = _Embedding()
    sheets: list[dict[str, Any]] = []
    for path in sorted((out_dir / "figures").glob("gallery-*.png")):
        name = path.stem.removeprefix("gallery-")
        try:
            sheet = read_sheet(path)
            source = embedding.source(path, f"figures/{path.name}", free=path.stem.endswith(_DEMO_SHEETS))
        except OSError as error:
            sheets.append({"name": name, "problem": f"figures/{path.name}: not readable as a picture ({error})"})
            continue
        sheets.append({"name": name, "src": source, "width": sheet.width, "height": sheet.height, "lines": sheet.lines})
    return sheets


class _Embedding:
    """Puts pictures into the page as long as all of them together stay below 4 MiB, and links the others."""

    def __init__(self) -> None:
        self._left = EMBEDDED_BYTES

    def source(self, path: Path, place: str, *, free: bool) -> str:
        """What a page beside `place` calls the picture in `path`.

        Args:
            path: The file.
            place: Where it lies, from the page.
            free: Whether it may be passed on with the page.

        Raises:
            OSError: It cannot be read.
        """
        data = path.read_bytes() if free else b""
        if not data or len(data) > self._left:
            return quote(place)
        self._left -= len(data)
        return _data_uri(data)


def _mask_uri(packed: str, size: tuple[int, int]) -> str:
    """A mask of `(height, width)` as a picture that is opaque inside it."""
    from PIL import Image

    picture = Image.fromarray(unpack_mask(packed, size).astype("uint8"), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=1, transparency=0, optimize=True)
    return _data_uri(buffer.getvalue())


def _data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
