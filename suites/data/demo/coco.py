"""COCO's part of the demo data: scenes of many objects and a few crowds, and a detector that is often right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ....heads.run_lengths import encode_masks
from ..coco_rle import decode_masks, to_rle
from .layouts import stream, write_jpeg
from .noise import Generator
from .scene import Scene, add_object, finish, new_scene
from .scenes import image_size
from .shapes import FAMILIES

COCO_FOLDERS = ("COCO/annotations", "COCO/val2017", "COCO/detections")
COCO_INSTANCES = "COCO/annotations/instances_val2017.json"
COCO_DETECTIONS = "COCO/detections/demo_detector.json"
COCO_SIDES = (256, 640)

_EMPTY_EVERY, _CROWD_EVERY = 11, 4
_MISSING_ID = 12  # COCO's own ids have gaps, the first of them here
_CROWD = 5
_Boxes = npt.NDArray[np.float64]


def category_ids() -> dict[str, int]:
    """Category id of each shape family; not contiguous, like COCO's."""
    return {family: place + (place >= _MISSING_ID) for place, family in enumerate(FAMILIES, 1)}


def coco_scene(seed: int, index: int) -> tuple[Scene, int]:
    """Draw one image.

    Returns:
        The scene, and how many of its objects, the last ones, belong to a crowd of one family. Every eleventh image has
        no object at all.
    """
    rng = stream(seed, "coco", index)
    scene = new_scene(rng, *image_size(rng, *COCO_SIDES))
    if index % _EMPTY_EVERY == _EMPTY_EVERY - 1:
        finish(rng, scene)
        return scene, 0
    for size, count in (((0.4, 0.85), (1, 4)), ((0.2, 0.4), (2, 6)), ((0.08, 0.16), (2, 6))):
        for _ in range(int(rng.integers(*count))):
            add_object(rng, scene, size, inside=0.75)
    alone = len(scene.families)
    if index % _CROWD_EVERY == 0:
        family = list(FAMILIES)[rng.integers(len(FAMILIES))]
        for _ in range(_CROWD):
            add_object(rng, scene, (0.09, 0.14), families=(family,), tries=12)
    finish(rng, scene)
    return scene, len(scene.families) - alone


def write_coco_item(root: Path, seed: int, index: int) -> tuple[list[str], dict[str, Any]]:
    """Draw one image and write its file below `root`.

    Returns:
        The file, relative to `root`, and what `coco_json` takes: `image`, `annotations` and `detections`.
    """
    scene, crowd = coco_scene(seed, index)
    height, width = scene.labels.shape
    image = {"id": 10 * index + 7, "file_name": f"{10 * index + 7:012d}.jpg", "height": height, "width": width}
    file = f"COCO/val2017/{image['file_name']}"
    write_jpeg(root / file, scene.image)
    masks = [scene.labels == number for number in range(1, len(scene.families) + 1)]
    alone = len(masks) - crowd
    annotations = [_annotation(image["id"], *pair) for pair in zip(masks[:alone], scene.families, strict=False)]
    detections = _detections(stream(seed, "coco_detector", index), image, annotations)
    if crowd:
        annotations.append(_crowd_annotation(image["id"], np.any(masks[alone:], axis=0), scene.families[-1]))
    return [file], {"image": image, "annotations": annotations, "detections": detections}


def coco_json(notes: list[dict[str, Any]]) -> dict[str, bytes]:
    """The instances and the detections file of what `write_coco_item` noted, by their paths below the root."""
    notes = sorted(notes, key=lambda note: note["image"]["id"])
    annotations = [annotation for note in notes for annotation in note["annotations"]]
    instances = {
        "info": {"description": "LinBench demo data"},
        "licenses": [],
        "images": [note["image"] for note in notes],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
        "categories": [
            {"id": number, "name": family, "supercategory": "shape"} for family, number in category_ids().items()
        ],
    }
    detections = [detection for note in notes for detection in note["detections"]]
    return {COCO_INSTANCES: json.dumps(instances).encode(), COCO_DETECTIONS: json.dumps(detections).encode()}


def outline_polygons(mask: npt.NDArray[np.bool_]) -> list[list[int]] | None:
    """Polygons along the pixels' edges that rasterise to exactly `mask` `[H, W]`; None where none do, as with holes."""
    # In a threefold enlargement the first and last pixel of a run fall to the run's two edges: (3x + 1) // 3 is x, and
    # (3x + 2 + 1) // 3 is x + 1.
    enlarged = np.repeat(np.repeat(mask.view(np.uint8), 3, 0), 3, 1)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for contour in contours:
        corners = (contour[:, 0] + 1) // 3
        corners = corners[(corners != np.roll(corners, 1, 0)).any(1)]
        polygons.append(corners.ravel().tolist())
    height, width = mask.shape
    drawn = decode_masks([to_rle(polygons, height, width)], height, width)[0]
    return polygons if np.array_equal(drawn, mask) else None


def _annotation(image_id: int, mask: npt.NDArray[np.bool_], family: str) -> dict[str, Any]:
    segmentation = outline_polygons(mask)
    return {
        "image_id": image_id,
        "category_id": category_ids()[family],
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [int(value) for value in cv2.boundingRect(mask.view(np.uint8))],
        "segmentation": encode_masks(mask[None])[0] if segmentation is None else segmentation,
    }


def _crowd_annotation(image_id: int, mask: npt.NDArray[np.bool_], family: str) -> dict[str, Any]:
    """As in COCO's files, the runs of a crowd are a plain list."""
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff([0, *changes, len(pixels)]).tolist()
    return {
        **_annotation(image_id, mask, family),
        "iscrowd": 1,
        "segmentation": {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts},
    }


def _detections(rng: Generator, image: dict[str, Any], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A detector's boxes: most objects near their place; some twice, under a wrong name, missed or invented."""
    limits = np.array([image["width"], image["height"]] * 2, np.float64)
    ids = list(category_ids().values())
    found: list[tuple[float, int, _Boxes]] = []
    for note in objects:
        x, y, width, height = note["bbox"]
        small = note["area"] < 32**2
        if rng.random() < (0.25 if small else 0.08):
            continue
        looks = 1 + int(rng.random() < 0.12)
        for look in range(looks):
            reach = rng.uniform(0.0, 0.04) + 0.06 * look + 0.02 * small
            shift = rng.uniform(-reach, reach, 4) * np.array([width, height] * 2)
            wrong = rng.random() < 0.06
            score = (0.98 - 4 * reach - 0.15 * small - 0.35 * wrong) * rng.uniform(0.75, 1.0)
            category = ids[rng.integers(len(ids))] if wrong else note["category_id"]
            found.append((score, category, np.array([x, y, x + width, y + height]) + shift))
    for _ in range(int(rng.integers(1, 6))):
        size = limits[:2] * rng.uniform(0.08, 0.5, 2)
        corner = rng.uniform(0, 1, 2) * (limits[:2] - size)
        found.append((rng.uniform(0.05, 0.45), ids[rng.integers(len(ids))], np.concatenate([corner, corner + size])))
    detections = []
    for score, category, box in sorted(found, key=lambda one: -one[0]):
        x0, y0, x1, y1 = np.clip(box, 0, limits).tolist()
        detections.append(
            {
                "image_id": image["id"],
                "category_id": category,
                "bbox": [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)],
                "score": round(max(score, 0.05), 4),
            }
        )
    return detections
