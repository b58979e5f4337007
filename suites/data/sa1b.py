"""SA-1B: folders of photographs, each with a JSON file of COCO run lengths beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...heads.run_lengths import Rle
from .coco_json import load_json
from .coco_rle import decode_masks, to_rle
from .decode import Pixels, read_image
from .masks import Bools, MaskDataset, shortened

ONE_PERCENT = tuple(f"sa_{number:06d}" for number in range(10))
"""The folders that the RWKV-SAM paper calls 1 %: 111,860 images."""
MOST_MASKS = 30
LEAST_SHARE = 1 / 64
_FOLDER = re.compile(r"sa_\d{6}")
_IMAGE = re.compile(r"sa_(\d+)\.jpg")


class SegmentAnything1B(MaskDataset):
    """Images of `sa_XXXXXX/sa_N.jpg` with the masks of `sa_N.json`, largest first.

    Only the `MOST_MASKS` largest are read, and of them those that cover `LEAST_SHARE` of the image. (RWKV-SAM's
    settings name both numbers; the code that reads the second is not public: a share of the image is our reading.)
    Distillation needs the images alone: a missing JSON file is told when the masks are asked for.

    Args:
        root: Folder that holds the `sa_XXXXXX`.
        name: For tables and messages.
        folders: Which of them; None for all that are there.

    Raises:
        DataError: None of the folders is there, or no image in them.
    """

    threshold = 127

    def __init__(self, root: Path | str, name: str = "SA-1B", *, folders: Sequence[str] | None = None) -> None:
        self.name, self.root = name, Path(root)
        there = sorted(path.name for path in self.root.glob("sa_*") if path.is_dir() and _FOLDER.fullmatch(path.name))
        self.missing = [folder for folder in folders or () if folder not in there]
        wanted = there if folders is None else [folder for folder in folders if folder in there]
        self._items = [(folder, number) for folder in wanted for number in _numbers(self.root / folder)]
        if not self._items:
            raise DataError(
                f"{name}: no image under {root}; expected folders sa_000000, ... with sa_N.jpg and sa_N.json"
            )
        self.items = tuple(f"{folder}/sa_{number}" for folder, number in self._items)

    def image(self, index: int) -> Pixels:
        return read_image(self._path(index, "jpg"))

    def masks(self, index: int) -> Bools:
        path = self._path(index, "json")
        data = load_json(path)
        try:
            height, width = int(data["image"]["height"]), int(data["image"]["width"])
            rles = [_rle(note, height, width) for note in _chosen(data["annotations"], height, width)]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no annotations of SA-1B ({type(error).__name__}: {error})") from error
        return decode_masks(rles, height, width)

    def labels(self, index: int) -> Pixels:
        return self.masks(index).view(np.uint8) * np.uint8(255)

    def files(self, index: int) -> tuple[Path, ...]:
        annotations = self._path(index, "json")
        return (self._path(index, "jpg"), *((annotations,) if annotations.is_file() else ()))

    def problems(self) -> list[str]:
        found = [f"{self.root}: folders are missing: {shortened(self.missing)}"] if self.missing else []
        lonely = [str(path) for index in range(len(self)) if not (path := self._path(index, "json")).is_file()]
        return found + ([f"{len(lonely)} images have no annotations: {shortened(lonely)}"] if lonely else [])

    def _path(self, index: int, kind: str) -> Path:
        folder, number = self._items[index]
        return self.root / folder / f"sa_{number}.{kind}"


def _numbers(folder: Path) -> list[int]:
    with os.scandir(folder) as entries:
        return sorted(int(found.group(1)) for entry in entries if (found := _IMAGE.fullmatch(entry.name)))


def _chosen(notes: list[dict[str, Any]], height: int, width: int) -> list[dict[str, Any]]:
    real = [note for note in notes if not note.get("ignore") and min(note["bbox"][2:]) >= 1]
    largest = sorted(real, key=lambda note: -float(note["area"]))[:MOST_MASKS]
    return [note for note in largest if note["area"] >= LEAST_SHARE * height * width]


def _rle(note: dict[str, Any], height: int, width: int) -> Rle:
    try:
        return to_rle(note["segmentation"], height, width)
    except ValueError as error:
        raise ValueError(f"annotation {note.get('id', '?')}: {error}") from error
