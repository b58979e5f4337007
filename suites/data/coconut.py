"""COCONut's panoptic annotations as instance masks: things only, crowds left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError
from .decode import Pixels, read_image, read_rgb_codes
from .masks import Bools, MaskDataset, shortened

JSON_NAMES = ("coconut_b.json", "coconut_b_panoptic.json", "coconut_s.json", "panoptic_coconut_b.json")
SEGMENT_FOLDERS = ("panoptic_coconut_b", "coconut_b", "panoptic", "panoptic_coconut_s", "coconut_s")
JSON_FOLDERS = (".", "annotations")
MIN_AREA = 32


class _Item(NamedTuple):
    image: Path
    segments: Path
    ids: tuple[int, ...]


class CoconutPanoptic(MaskDataset):
    """Thing masks of a COCO-panoptic JSON with RGB segment images, `id = R + 256 G + 65536 B`.

    Images without a thing are left out; masks under `MIN_AREA` pixels are dropped.

    Args:
        root: Folder with the JSON (or `annotations/`), the segment folder and `train2017/` (and `unlabeled2017/`).
        name: For tables and messages.

    Raises:
        DataError: The JSON, the segment folder or a file the JSON names is missing, or the JSON is malformed.
    """

    threshold = 0

    def __init__(self, root: Path | str, name: str = "COCONut-B") -> None:
        self.name = name
        self.root = Path(root)
        self.annotations = _first_file(self.root)
        segments = next((self.root / folder for folder in SEGMENT_FOLDERS if (self.root / folder).is_dir()), None)
        if segments is None:
            raise DataError(f"{name}: no segment folder below {root}; expected one of {', '.join(SEGMENT_FOLDERS)}")
        self._items = _read_items(name, self.root, self.annotations, segments)
        missing = [str(path) for item in self._items for path in (item.image, item.segments) if not path.is_file()]
        if missing:
            raise DataError(
                f"{name}: {len(missing)} files named in {self.annotations} are missing: {shortened(missing)}"
            )
        self.items = tuple(item.image.stem for item in self._items)

    def image(self, index: int) -> Pixels:
        return read_image(self._items[index].image)

    def labels(self, index: int) -> Pixels:
        return np.asarray(np.where(self.masks(index), 255, 0), np.uint8)

    def masks(self, index: int) -> Bools:
        layer = self.layers(index)
        return np.asarray(layer == np.arange(1, int(layer.max()) + 1, dtype=np.uint8)[:, None, None])

    def layers(self, index: int) -> Pixels:
        item = self._items[index]
        codes = read_rgb_codes(item.segments)
        present, inverse, areas = np.unique(codes, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(np.isin(present, item.ids) & (areas >= MIN_AREA))
        if len(kept) > 255:
            raise DataError(f"{item.segments}: {len(kept)} things; at most 255 are read")
        table = np.zeros(len(present), np.uint8)
        table[kept] = np.arange(1, len(kept) + 1)
        return np.asarray(table[inverse.reshape(codes.shape)][None])

    def files(self, index: int) -> tuple[Path, ...]:
        item = self._items[index]
        return item.image, item.segments


def _first_file(root: Path) -> Path:
    for folder in JSON_FOLDERS:
        for name in JSON_NAMES:
            if (root / folder / name).is_file():
                return root / folder / name
    raise DataError(f"COCONut not found under {root}; expected one of {', '.join(JSON_NAMES)} there or in annotations/")


def _read_items(name: str, root: Path, path: Path, segments: Path) -> list[_Item]:
    try:
        data = json.loads(path.read_text("utf-8"))
        things = {category["id"] for category in data["categories"] if category["isthing"]}
        images = {image["id"]: image for image in data["images"]}
        items = [
            _Item(_image_path(root, images[note["image_id"]]), segments / note["file_name"], ids)
            for note in data["annotations"]
            if (ids := _thing_ids(note, things))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name}: {path} is no COCO panoptic file ({type(error).__name__}: {error})") from error
    if not items:
        raise DataError(f"{name}: {path} names no image with a thing")
    return sorted(items, key=lambda item: item.image.stem)


def _image_path(root: Path, image: dict[str, Any]) -> Path:
    folder = "unlabeled2017" if "unlabeled2017" in image.get("coco_url", "") else "train2017"
    nested = root / "images" / folder
    return (nested if nested.is_dir() else root / folder) / Path(image["file_name"]).name


def _thing_ids(note: dict[str, Any], things: set[int]) -> tuple[int, ...]:
    return tuple(
        int(segment["id"])
        for segment in note["segments_info"]
        if segment["category_id"] in things and not segment.get("iscrowd", 0)
    )
