"""COCONut's panoptic annotations as instance masks: things only, crowds left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError
from .decode import Pixels, read_image, read_rgb_codes
from .masks import Bools, MaskDataset, shortened

# The names of every release and of the repositories that use them; the first that is there counts.
JSON_NAMES = (
    *("coconut_b.json", "coconut_b_panoptic.json", "panoptic_coconut_b.json", "coconut-b.json"),
    *("coconut_s.json", "coconut_s_panoptic.json", "panoptic_coconut_s.json", "coconut-s.json"),
    "panoptic_train2017.json",
)
VAL_JSON_NAMES = ("relabeled_coco_val.json", "relabeled_coco_val_panoptic.json", "panoptic_val2017.json")
JSON_FOLDERS = (".", "annotations", "annotations/annotations", "coconut_b", "coconut_s", "relabeled_coco_val")
_SPLITS = {
    "b": ("coconut_b", "coconut-b", "panoptic_coconut_b"),
    "s": ("coconut_s", "coconut-s", "panoptic_coconut_s"),
    "val": ("relabeled_coco_val", "panoptic_val2017"),
}
MIN_AREA = 32


class _Item(NamedTuple):
    image: Path
    segments: Path
    ids: tuple[int, ...]


class CoconutPanoptic(MaskDataset):
    """Thing masks of a COCO-panoptic JSON with RGB segment images, `id = R + 256 G + 65536 B`.

    Images without a thing are left out; masks under `MIN_AREA` pixels are dropped. Annotations of images that the JSON
    does not list are left out too, and segments without an id; `problems` counts them.

    Args:
        root: Folder with the JSON (or `annotations/`), the segment folder and `train2017/` (and `unlabeled2017/`, whose
            images may lie in `train2017/` too); of the validation set, `val2017/`, here or in `COCO/` beside.
        name: For tables and messages.
        validation: Read the relabelled COCO validation set instead of a training set.

    Raises:
        DataError: The JSON, the segment folder or a file the JSON names is missing, or the JSON is malformed.
    """

    threshold = 0

    def __init__(self, root: Path | str, name: str = "COCONut-B", *, validation: bool = False) -> None:
        self.name = name
        self.root = Path(root)
        self.annotations = _first_file(self.root, VAL_JSON_NAMES if validation else JSON_NAMES)
        segments = _segment_folder(name, self.root, self.annotations)
        self._problems: list[str] = []
        self._items = _read_items(name, self.root, self.annotations, segments, self._problems)
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

    def problems(self) -> list[str]:
        return list(self._problems)


def _first_file(root: Path, names: tuple[str, ...]) -> Path:
    # By name before folder, so that the B set goes before the S set wherever both lie.
    for name in names:
        for folder in JSON_FOLDERS:
            if (root / folder / name).is_file():
                return root / folder / name
    parquet = any(root.glob("*.parquet")) or any(root.glob("*/*.parquet"))
    hint = "; Hugging Face's parquet files need COCONut's own download_coconut.py to become JSON and PNG"
    raise DataError(
        f"COCONut not found under {root}; expected one of {', '.join(names)} there or in annotations/"
        f"{hint if parquet else ''}"
    )


def _segment_folder(name: str, root: Path, annotations: Path) -> Path:
    stem = annotations.stem.replace("-", "_")
    split = "val" if "val" in stem else "s" if "coconut_s" in stem else "b"
    own = _SPLITS[split]
    # The folder of a split may hold the PNG files, or one more folder that does.
    nested = [f"{one}/{inner}" for one in own for inner in (f"panoptic_{one}", "panoptic", one)]
    shared = ["panoptic", "panoptic_train2017"] if split != "val" else []
    for folder in (*nested, *own, *shared):
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{name}: no segment folder below {root}; expected one of {', '.join((*own, *shared))}")


def _read_items(name: str, root: Path, path: Path, segments: Path, problems: list[str]) -> list[_Item]:
    try:
        data = json.loads(path.read_text("utf-8"))
        things = {category["id"] for category in data["categories"] if category["isthing"]}
        images = {image["id"]: image for image in data["images"]}
        listed = [note for note in data["annotations"] if note["image_id"] in images]
        items = [
            _Item(_image_path(root, images[note["image_id"]]), _segment_path(segments, note, images), ids)
            for note in listed
            if (ids := _thing_ids(note, things))
        ]
        unnamed = sum("id" not in segment for note in listed for segment in note["segments_info"])
        bare = len(images) - len({note["image_id"] for note in listed})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name}: {path} is no COCO panoptic file ({type(error).__name__}: {error})") from error
    if not items:
        raise DataError(f"{name}: {path} names no image with a thing")
    counts = {
        "annotations of images that it does not list": len(data["annotations"]) - len(listed),
        "images without annotations": bare,
        "segments without an id": unnamed,
    }
    problems += [f"{path}: {count} {what}" for what, count in counts.items() if count]
    return sorted(items, key=lambda item: item.image.stem)


def _image_path(root: Path, image: dict[str, Any]) -> Path:
    url = image.get("coco_url") or ""
    folder = next((known for known in ("unlabeled2017", "val2017") if known in url), "train2017")
    places = [root / "images", root, *([root.parent / "COCO"] if folder == "val2017" else [])]
    there = (place / folder for place in places if (place / folder).is_dir())
    return next(there, root / "train2017") / Path(image["file_name"]).name


def _segment_path(segments: Path, note: dict[str, Any], images: dict[int, dict[str, Any]]) -> Path:
    # Annotations of some releases name the photograph, or nothing.
    path = segments / str(note.get("file_name", ""))
    return path if path.suffix == ".png" else segments / f"{Path(images[note['image_id']]['file_name']).stem}.png"


def _thing_ids(note: dict[str, Any], things: set[int]) -> tuple[int, ...]:
    return tuple(
        int(segment["id"])
        for segment in note["segments_info"]
        if "id" in segment and segment["category_id"] in things and not segment.get("iscrowd", 0)
    )
