"""COCO's instances: one JSON file and one folder of images, decoded when they are asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...heads.run_lengths import Rle
from .coco_json import Annotation, CocoImage, is_crowd, read_truth
from .coco_rle import area, decode_masks, to_rle
from .decode import Pixels, file_hash, read_image
from .masks import Bools, MaskDataset, shortened

INSTANCES_JSON = "instances_val2017.json"


class CocoInstances(MaskDataset):
    """Images of an instances JSON with the masks of their objects; crowds are left out of the masks.

    Images whose file is absent or bad are listed all the same: reading one says so, by name. An image may have no
    object.

    Args:
        annotations: The instances JSON, of COCO or LVIS.
        images: Folder of the images.
        name: For tables and messages.

    Attributes:
        truth: The checked JSON.
        records: The images in the order of `items`.

    Raises:
        DataError: The JSON is missing or no instances file, or the image folder is missing.
    """

    threshold = 0

    def __init__(self, annotations: Path | str, images: Path | str, name: str = "COCO") -> None:
        self.name = name
        self.json, self.root = Path(annotations), Path(images)
        if not self.json.is_file():
            raise DataError(
                f"{name}: {self.json} is missing; expected COCO's annotations/{INSTANCES_JSON} beside val2017/"
            )
        if not self.root.is_dir():
            raise DataError(f"{name}: image folder {self.root} is missing; expected the images of {self.json} in it")
        self.truth = read_truth(self.json)
        self.records = tuple(sorted(self.truth.images.values(), key=lambda record: (record.file, record.id)))
        self.items = tuple(Path(record.file).stem for record in self.records)

    def path(self, index: int) -> Path:
        """The image's file, there or not."""
        record = self.records[index]
        # LVIS's validation images lie in val2017 and train2017: its entries name the folder.
        below, beside = self.root / record.file, self.root.parent / record.file
        return beside if "/" in record.file and not below.is_file() else below

    def image(self, index: int) -> Pixels:
        path, record = self.path(index), self.records[index]
        pixels = read_image(path)
        if pixels.shape[:2] != (record.height, record.width):
            raise DataError(
                f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels (upright, by EXIF), but {self.json} says "
                f"{record.width}x{record.height}; its masks and boxes would not fit"
            )
        return pixels

    def objects(self, index: int) -> list[Annotation]:
        """Annotations of the image that are no crowd, in the file's order."""
        return [note for note in self.truth.annotations.get(self.records[index].id, []) if not is_crowd(note)]

    def masks(self, index: int) -> Bools:
        record = self.records[index]
        rles = [self._rle(record, note) for note in self.objects(index)]
        return decode_masks(rles, record.height, record.width)

    def labels(self, index: int) -> Pixels:
        return self.masks(index).view(np.uint8) * np.uint8(255)

    def files(self, index: int) -> tuple[Path, ...]:
        path = self.path(index)
        return (path,) if path.is_file() else ()

    def fingerprint(self, *, full: bool = False) -> str:
        both = super().fingerprint(full=full) + file_hash(self.json)
        return hashlib.sha256(both.encode()).hexdigest()[:16]

    def empty_objects(self, record: CocoImage) -> list[str]:
        """Objects of an image without a pixel, crowds left out: `annotation <id> of <file>`.

        Raises:
            DataError: A segmentation is malformed or of another size than the image.
        """
        notes = (note for note in self.truth.annotations.get(record.id, []) if not is_crowd(note))
        return [
            f"annotation {note.get('id', '?')} of {record.file}" for note in notes if not area(self._rle(record, note))
        ]

    def check(self, index: int) -> None:
        """Check all segmentations of an image, crowds included, without decoding them.

        Raises:
            DataError: One is malformed or of another size than the image.
        """
        record = self.records[index]
        for note in self.truth.annotations.get(record.id, []):
            self._rle(record, note)

    def absent(self) -> list[str]:
        """Images that are listed and not in the folder."""
        return [record.file for index, record in enumerate(self.records) if not self.files(index)]

    def problems(self) -> list[str]:
        """What the JSON says that an evaluation leaves out or cannot use, one line each; images are not opened."""
        found = []
        if self.truth.unlisted:
            found.append(f"{self.json}: {self.truth.unlisted} annotations of images that it does not list")
        if absent := self.absent():
            found.append(f"{self.root}: {len(absent)} images of {self.json.name} are absent: {shortened(absent)}")
        if not any(self.objects(index) for index in range(len(self))):
            found.append(f"{self.json}: no image has an object")
        return found

    def _rle(self, record: CocoImage, note: Annotation) -> Rle:
        try:
            return to_rle(note["segmentation"], record.height, record.width)
        except ValueError as error:
            raise DataError(f"{self.json}: annotation {note.get('id', '?')} of {record.file}: {error}") from error
