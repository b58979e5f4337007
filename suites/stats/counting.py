"""Masks of a data set, counted twice: as its files annotate them, and as its reader gives them to a training."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError
from ..data.coco import CocoInstances
from ..data.coco_json import is_crowd, load_json
from ..data.coconut import CoconutPanoptic
from ..data.masks import FolderMasks, MaskDataset, unmatched_masks
from ..data.parallel import in_order
from ..data.sa1b import SegmentAnything1B


class ImageCount(NamedTuple):
    """One image.

    Attributes:
        masks: That the reader gives.
        empty: Of them without a pixel.
        annotated: That the image's own annotation file lists; None where one file holds those of all images.
        error: Why the image cannot be read; empty where it can.
    """

    masks: int = 0
    empty: int = 0
    annotated: int | None = None
    error: str = ""


def count_images(dataset: MaskDataset, *, limit: int | None = None, workers: int = 0) -> Iterator[ImageCount]:
    """Read the masks of every image, in order.

    Args:
        dataset: What is counted.
        limit: Only the first images.
        workers: Threads that read.
    """

    def count(index: int) -> ImageCount:
        try:
            return _count(dataset, index)
        except DataError as error:
            return ImageCount(error=str(error))

    with ThreadPoolExecutor(workers) if workers else nullcontext() as pool:
        yield from in_order(count, range(min(len(dataset), limit or len(dataset))), pool, ahead=4 * workers)


def _count(dataset: MaskDataset, index: int) -> ImageCount:
    if isinstance(dataset, CocoInstances):
        return ImageCount(len(dataset.objects(index)), len(dataset.empty_objects(dataset.records[index])))
    if isinstance(dataset, CoconutPanoptic):
        return ImageCount(int(dataset.layers(index).max()))
    masks = dataset.masks(index)
    empty = int((~masks.any(axis=(1, 2))).sum())
    if isinstance(dataset, SegmentAnything1B):
        return ImageCount(len(masks), empty, len(load_json(dataset.files(index)[-1])["annotations"]))
    return ImageCount(len(masks), empty)


def annotation_file(dataset: MaskDataset) -> Path | None:
    """The one file that annotates all images of a set, where there is one."""
    if isinstance(dataset, CocoInstances):
        return dataset.json
    return dataset.annotations if isinstance(dataset, CoconutPanoptic) else None


def annotated(dataset: MaskDataset) -> dict[str, int]:
    """What the files annotate, nothing left out, without reading a mask.

    Returns:
        `annotated_images` and `annotated_masks`; for files that tell these apart also `things`, `stuff` and `crowds`,
        crowds being among the things. Only `annotated_images` where every image has an annotation file of its own.
    """
    if isinstance(dataset, CoconutPanoptic):
        return _panoptic(dataset.annotations)
    if isinstance(dataset, CocoInstances):
        notes = [note for notes in dataset.truth.annotations.values() for note in notes]
        return {
            "annotated_images": len(dataset.truth.images),
            "annotated_masks": len(notes) + dataset.truth.unlisted,
            "crowds": sum(map(is_crowd, notes)),
        }
    if isinstance(dataset, FolderMasks):
        alone = unmatched_masks(dataset.pairs, dataset.pairs[0].mask.parent)
        return {"annotated_images": len(dataset), "annotated_masks": len(dataset) + len(alone)}
    return {"annotated_images": len(dataset)}


def _panoptic(path: Path) -> dict[str, int]:
    data: dict[str, Any] = load_json(path)
    things = {category["id"] for category in data["categories"] if category["isthing"]}
    segments = [segment for note in data["annotations"] for segment in note["segments_info"]]
    of_things = sum(segment.get("category_id") in things for segment in segments)
    return {
        "annotated_images": len(data["images"]),
        "annotated_masks": len(segments),
        "things": of_things,
        "stuff": len(segments) - of_things,
        "crowds": sum(bool(segment.get("iscrowd", 0)) for segment in segments),
    }
