"""Which files the demo data consists of, in the real data sets' own layouts."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .noise import Generator
from .scenes import image_size, instances_scene, target_scene
from .shapes import FAMILIES

JPEG_QUALITY = 92
STUFF_ID = 200
PANOPTIC_JSON = "COCONut/coconut_b.json"


class MaskLayout(NamedTuple):
    """One single-mask set: its folders, image sides in pixels, target diameters as a share of the short side."""

    images: str
    masks: str
    sides: tuple[int, int]
    target: tuple[float, float]


MASK_SETS: dict[str, MaskLayout] = {
    "dis_tr": MaskLayout("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", (320, 768), (0.2, 1.0)),
    "dis_vd": MaskLayout("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", (320, 768), (0.3, 1.0)),
    "coift": MaskLayout("COIFT/images", "COIFT/masks", (256, 640), (0.2, 0.7)),
    "hrsod": MaskLayout("HRSOD/images", "HRSOD/masks_max255", (640, 1024), (0.25, 0.9)),
    "thinobject": MaskLayout("ThinObject5K/images_test", "ThinObject5K/masks_test", (288, 768), (0.25, 0.9)),
}
PANOPTIC_SIDES = (256, 640)


@dataclass(frozen=True)
class DemoCounts:
    """Images in each set; the evaluation sets are drawn from random streams of their own."""

    panoptic: int = 480
    dis_tr: int = 120
    dis_vd: int = 40
    coift: int = 24
    hrsod: int = 24
    thinobject: int = 16
    coco: int = 32

    @classmethod
    def with_training(cls, train_images: int) -> DemoCounts:
        """Counts with `train_images` for training, four fifths of them with many objects."""
        single = train_images // 5
        return cls(panoptic=train_images - single, dis_tr=single)

    def jobs(self) -> list[tuple[str, int]]:
        """Every image as `(set, index)`."""
        return [(name, index) for name, count in asdict(self).items() for index in range(count)]


def stream(seed: int, name: str, index: int) -> Generator:
    """The random stream of one image; no two images of any sets share one."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode()), index])))


def draw(seed: int, name: str, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[str]]:
    """Image `[H, W, 3]`, labels `[H, W]` and families of one image; single-mask sets have labels 0 and 1."""
    rng = stream(seed, name, index)
    if name == "panoptic":
        scene = instances_scene(rng, *image_size(rng, *PANOPTIC_SIDES))
        return scene.image, scene.labels, scene.families
    layout = MASK_SETS[name]
    scene, target = target_scene(rng, *image_size(rng, *layout.sides), layout.target)
    return scene.image, (scene.labels == target).astype(np.uint8), [scene.families[target - 1]]


def write_item(root: Path, seed: int, name: str, index: int) -> tuple[list[str], dict[str, Any] | None]:
    """Draw one image and write its files below `root`.

    Returns:
        The files, relative to `root`, and the panoptic annotation where the set has one.
    """
    image, labels, families = draw(seed, name, index)
    stem = f"{index + 1:012d}" if name == "panoptic" else f"demo_{index:05d}"
    annotation = None
    if name == "panoptic":
        files = [f"COCONut/train2017/{stem}.jpg", f"COCONut/panoptic_coconut_b/{stem}.png"]
        label_image = _segment_colours(labels)
        annotation = _annotation(index + 1, stem, labels, families)
    else:
        layout = MASK_SETS[name]
        files = [f"{layout.images}/{stem}.jpg", f"{layout.masks}/{stem}.png"]
        label_image = labels * 255
    write_jpeg(root / files[0], image)
    _write(root / files[1], ".png", label_image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return files, annotation


def write_jpeg(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write an RGB image `[H, W, 3]`."""
    _write(path, ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _write(path: Path, kind: str, pixels: npt.NDArray[np.uint8], options: list[int]) -> None:
    _, data = cv2.imencode(kind, pixels, options)
    path.write_bytes(data.tobytes())


def _segment_ids(count: int) -> npt.NDArray[np.int64]:
    """A spread of ids over all three bytes, so that readers must use them all; 0 stays nothing's."""
    return np.asarray((np.arange(count + 1, dtype=np.int64) * 2654435 + 7919) % (1 << 24))


def _segment_colours(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    ids = _segment_ids(int(labels.max()))
    blue_green_red = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], 1).astype(np.uint8)
    return blue_green_red[labels]


def _annotation(image_id: int, stem: str, labels: npt.NDArray[np.uint8], families: list[str]) -> dict[str, Any]:
    names = list(FAMILIES)
    segments = []
    for number, segment_id in enumerate(_segment_ids(len(families)).tolist()):
        mask = (labels == number).astype(np.uint8)
        category = names.index(families[number - 1]) + 1 if number else STUFF_ID
        box = [int(value) for value in cv2.boundingRect(mask)]
        area = int(mask.sum())
        segments.append({"id": segment_id, "category_id": category, "iscrowd": 0, "bbox": box, "area": area})
    height, width = labels.shape
    return {
        "image": {"id": image_id, "file_name": f"{stem}.jpg", "height": height, "width": width},
        "annotation": {"image_id": image_id, "file_name": f"{stem}.png", "segments_info": segments},
    }


def panoptic_json(notes: list[dict[str, Any]]) -> dict[str, bytes]:
    """The panoptic file of what `write_item` noted, by its path below the root."""
    notes = sorted(notes, key=lambda note: note["image"]["id"])
    panoptic = {
        "info": {"description": "LinBench demo data"},
        "images": [note["image"] for note in notes],
        "annotations": [note["annotation"] for note in notes],
        "categories": categories(),
    }
    return {PANOPTIC_JSON: json.dumps(panoptic).encode()}


def categories() -> list[dict[str, Any]]:
    """Category table of the panoptic file: a thing for each shape family, and the ground."""
    things = [{"id": index + 1, "name": name, "isthing": 1} for index, name in enumerate(FAMILIES)]
    return [*things, {"id": STUFF_ID, "name": "ground", "isthing": 0}]
