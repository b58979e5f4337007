"""Small pictures of scored images, kept once for all rows that show them, and the masks that rows hold for them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import StoreError
from ..files import write_atomic
from ..schema import Row

TILES = "tiles"
TILE_SIDE = 192  # an inch of print at 192 dots: the size it has in a figure
_PREFIX = "gallery/"
_FIELDS = ("set", "name", "tile", "box", "mask", "truth", "iou", "biou")


class Shown(NamedTuple):
    """A prediction as a row holds it.

    Attributes:
        set: Data set.
        name: Image.
        tile: Name of the picture's file without its ending.
        box: `x0, y0, x1, y1` in the tile's pixels.
        mask: Predicted, run lengths as COCO packs them.
        truth: Likewise.
        iou: Mask IoU at the image's own resolution.
        biou: Boundary IoU, likewise.
    """

    set: str
    name: str
    tile: str
    box: Sequence[float]
    mask: str
    truth: str
    iou: float
    biou: float


def save_tile(root: Path, picture: NDArray[np.uint8], kind: str) -> str:
    """Keep a picture `[H, W, 3]` (RGB) under `<root>/tiles` by its content, and return its name.

    Args:
        root: The results folder.
        picture: No larger than `TILE_SIDE`.
        kind: Kind of data, with which the name begins: photographs have licences of their own.

    Raises:
        StoreError: The folder cannot be written.
    """
    from PIL import Image

    digest = hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()
    name = f"{kind}-{digest[:16]}"
    path = root / TILES / f"{name}.png"
    if not path.exists():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", optimize=True)
        try:
            write_atomic(path, buffer.getvalue(), overwrite=True)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; give a writable folder") from error
    return name


def load_tile(tiles: Path, name: str) -> NDArray[np.uint8] | None:
    """A kept picture `[H, W, 3]`; None without a readable file, as in a clone that comes without the photographs."""
    from PIL import Image

    try:
        with Image.open(tiles / f"{Path(name).name}.png") as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except OSError:
        return None


def pack_mask(mask: NDArray[np.bool_]) -> str:
    """Run lengths of a mask `[H, W]` as COCO packs them."""
    from pycocotools import mask as coco

    packed: bytes = coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return packed.decode("ascii")


def unpack_mask(packed: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of `(height, width)` that `pack_mask` packed."""
    from pycocotools import mask as coco

    return np.asarray(coco.decode({"size": list(size), "counts": packed.encode("ascii")}), bool)


def shown_samples(shown: Sequence[Shown]) -> dict[str, list[Any]]:
    """The predictions as samples of a row."""
    return {_PREFIX + field: [getattr(one, field) for one in shown] for field in _FIELDS} if shown else {}


def shown_of(row: Row) -> list[Shown]:
    """The predictions that a row holds; none where it was scored before they were kept."""
    columns = [row.samples.get(_PREFIX + field, []) for field in _FIELDS]
    return [Shown(*values) for values in zip(*columns, strict=True)]
