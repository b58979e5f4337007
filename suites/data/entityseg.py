"""EntitySeg's training set: a COCO instances file over photographs of reduced size, some of which are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from .coco import CocoInstances
from .coco_json import Annotation, CocoImage
from .masks import shortened

TRAIN_JSON = "entityseg_train_lr.json"
JSON_FOLDERS = (".", "annotations")
IMAGE_FOLDERS = ("images_lr", "Adobe_EntitySeg/images_lr", "images", ".")
IMAGE_GROUPS = "entity_*"
MIN_SIDE = 32
MOST_MASKS = 255


class EntitySeg(CocoInstances):
    """Entities, things and stuff alike, of images whose file is there and not empty.

    As in RWKV-SAM's training, images without an object and those under `MIN_SIDE` pixels are left out, and so are those
    whose file is missing. `left_out` lists them.

    Args:
        root: Folder with the JSON (or `annotations/`) and `images_lr/entity_*/`, or `entity_*/` beside the JSON.
        name: For tables and messages.

    Attributes:
        left_out: Files by reason: `missing`, `without an object`, `too small`.

    Raises:
        DataError: The JSON is missing or no instances file, or no image can be used.
    """

    def __init__(self, root: Path | str, name: str = "EntitySeg") -> None:
        root = Path(root)
        annotations = next((path for folder in JSON_FOLDERS if (path := root / folder / TRAIN_JSON).is_file()), None)
        if annotations is None:
            raise DataError(f"{name}: {TRAIN_JSON} is missing under {root}; expected it there or in annotations/")
        super().__init__(annotations, _image_root(root), name)
        self.left_out: dict[str, list[str]] = {}
        kept = [record for index, record in enumerate(self.records) if self._usable(index, record)]
        if not kept:
            counts = ", ".join(f"{len(files)} {reason}" for reason, files in self.left_out.items())
            raise DataError(f"{name}: no image of {annotations} can be used ({counts}); looked in {self.root}")
        self.records = tuple(kept)
        self.items = tuple(str(Path(record.file).with_suffix("")) for record in kept)

    def objects(self, index: int) -> list[Annotation]:
        """Annotations of the image that are no crowd, the largest `MOST_MASKS` where there are more."""
        return _largest(super().objects(index))

    def problems(self) -> list[str]:
        found = [
            f"{self.json}: {len(files)} images {reason}: {shortened(files)}" for reason, files in self.left_out.items()
        ]
        return [*found, *super().problems()]

    def _usable(self, index: int, record: CocoImage) -> bool:
        path = self.path(index)
        if not path.is_file() or not path.stat().st_size:
            reason = "missing"
        elif not self.objects(index):
            reason = "without an object"
        elif min(record.height, record.width) < MIN_SIDE:
            reason = "too small"
        else:
            return True
        self.left_out.setdefault(reason, []).append(record.file)
        return False


def _image_root(root: Path) -> Path:
    there = [root / folder for folder in IMAGE_FOLDERS if (root / folder).is_dir()]
    return next((folder for folder in there if any(folder.glob(IMAGE_GROUPS))), there[0])


def _largest(notes: Sequence[Annotation]) -> list[Annotation]:
    if len(notes) <= MOST_MASKS:
        return list(notes)
    kept = sorted(range(len(notes)), key=lambda place: -float(notes[place].get("area", 0)))[:MOST_MASKS]
    return [notes[place] for place in sorted(kept)]
