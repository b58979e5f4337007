"""EntitySeg's part of the demo data, in a folder of its own: scenes with every entity outlined, the ground too."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ....errors import DataError
from ....heads.run_lengths import encode_masks
from ..entityseg import TRAIN_JSON
from .coco import outline_polygons
from .layouts import stream, write_jpeg
from .publish import MANIFEST
from .scenes import image_size, instances_scene
from .shapes import FAMILIES

VERSION = 1
IMAGES = 48
SIDES = (320, 640)
FOLDER = "EntitySeg"
GROUP = "entity_01_11580"
GROUND = "ground"

Progress = Callable[[int, int], None]


def entityseg_root(cache: Path, *, seed: int = 0, images: int = IMAGES) -> Path:
    """The data root in the cache that holds these drawings, drawn or not yet."""
    return cache / "demo" / f"entityseg-v{VERSION}-seed{seed}-{images}"


def build_entityseg(cache: Path, *, seed: int = 0, images: int = IMAGES, progress: Progress | None = None) -> Path:
    """Draw EntitySeg's layout, or find it drawn.

    Args:
        cache: LinBench's cache folder.
        seed: Seed of every drawing.
        images: How many.
        progress: Called with (images done, images in all).

    Returns:
        A data root: `EntitySeg/` lies in it.

    Raises:
        DataError: The folder cannot be written.
    """
    target = entityseg_root(cache, seed=seed, images=images)
    if (target / MANIFEST).is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            _fill(draft, seed, images, progress)
            draft.chmod(0o755)
            _publish(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"demo data cannot be written to {target}: {error}; choose another folder or free space"
        ) from error
    return target


def _publish(draft: Path, target: Path) -> None:
    try:
        draft.replace(target)
    except OSError:
        # Another process that drew the same may have been first; its result is as good.
        if not (target / MANIFEST).is_file():
            raise


def _fill(root: Path, seed: int, count: int, progress: Progress | None) -> None:
    folder = root / FOLDER
    (folder / "images_lr" / GROUP).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = stream(seed, "entityseg", index)
        scene = instances_scene(rng, *image_size(rng, *SIDES))
        height, width = scene.labels.shape
        image = {"id": index, "file_name": f"{GROUP}/demo_{index:05d}.jpg", "height": height, "width": width}
        write_jpeg(folder / "images_lr" / image["file_name"], scene.image)
        images.append(image)
        for number, family in enumerate([GROUND, *scene.families]):
            mask = scene.labels == number
            if mask.any():
                annotations.append({"id": len(annotations) + 1, **_annotation(index, mask, family)})
        if progress is not None:
            progress(index + 1, count)
    names = [GROUND, *FAMILIES]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / TRAIN_JSON).write_text(json.dumps(content), "utf-8")
    manifest = {"generator": "linbench-demo", "part": "entityseg", "version": VERSION, "seed": seed, "images": count}
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def _annotation(image_id: int, mask: npt.NDArray[np.bool_], family: str) -> dict[str, Any]:
    polygons = outline_polygons(mask)
    return {
        "image_id": image_id,
        "category_id": [GROUND, *FAMILIES].index(family) + 1,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [int(value) for value in cv2.boundingRect(mask.view(np.uint8))],
        "segmentation": encode_masks(mask[None])[0] if polygons is None else polygons,
    }
