"""Box prompts for COCO: a detector's, with its scores and categories, or the true boxes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from .coco import CocoInstances
from .coco_json import Annotation, load_json, whole
from .decode import file_hash

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
CategoryIds = Literal["dataset", "index"]

BOXES_PER_IMAGE: dict[str, int | None] = {"vitdet": None, "hqsam": 100}
"""Boxes an image gives at most, by protocol: RWKV-SAM prompts with all of ViTDet-H's, HQ-SAM with a hundred."""

_OVERHANG = 0.05  # pixels; files round to two decimals


class Prompts(NamedTuple):
    """Box prompts of one image.

    Attributes:
        boxes: `[n, 4]` float32, x0 y0 x1 y1 in pixels of the original image, x1 = x + w.
        scores: `[n]` float64, the detector's as they stand in its file; 1 for true boxes.
        categories: `[n]`, category ids of the data set.
    """

    boxes: npt.NDArray[np.float32]
    scores: Doubles
    categories: Longs


@dataclass
class BoxCounts:
    """What became of the boxes of a file.

    Attributes:
        given: Boxes on images of the data set.
        used: Boxes that are prompts.
        clipped: Used boxes that reached out of their image and were cut at its border.
        outside: Boxes left out: outside their image, without an area, or not finite.
        beyond_top: Boxes left out because their image has enough with higher scores.
        elsewhere: Boxes on images that the data set does not list.
        images_without: Images without a prompt.
    """

    given: int = 0
    used: int = 0
    clipped: int = 0
    outside: int = 0
    beyond_top: int = 0
    elsewhere: int = 0
    images_without: int = 0

    def to_dict(self) -> dict[str, int]:
        """The counts by name, for a row."""
        return asdict(self)


class BoxPrompts:
    """Prompts of every image of a data set, in its order.

    Attributes:
        source: Where the boxes come from: `truth`, or the detector's file.
        sha256: Of the detector's file; empty for true boxes.
        counts: What became of the boxes.
    """

    def __init__(self, source: str, sha256: str, prompts: list[Prompts], counts: BoxCounts) -> None:
        self.source = source
        self.sha256 = sha256
        self.counts = counts
        self._prompts = prompts

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: int) -> Prompts:
        return self._prompts[index]


def truth_boxes(dataset: CocoInstances) -> BoxPrompts:
    """The annotated boxes (`bbox`) of all objects that are no crowd, with score 1.

    Raises:
        DataError: An annotation has no box of four numbers.
    """
    notes = [(index, note) for index in range(len(dataset)) for note in dataset.objects(index)]
    table = _table(dataset.json, [note for _, note in notes], "annotation", scored=False)
    return _prompts("truth", "", dataset, np.array([index for index, _ in notes], np.int64), table, None, 0)


def detector_boxes(
    dataset: CocoInstances, path: Path | str, *, top: int | None = None, category_ids: CategoryIds = "dataset"
) -> BoxPrompts:
    """Boxes of a detector's results file: a JSON list of `image_id`, `category_id`, `bbox` (x, y, w, h) and `score`.

    Args:
        dataset: The images.
        path: The file; boxes on other images are counted and left out.
        top: Boxes an image keeps, the highest scores first come (`BOXES_PER_IMAGE`); None keeps all.
        category_ids: `dataset` where the file has the data set's ids, `index` where it counts its categories from 0 in
            the order of their ids (mmdetection's training ids; LVIS ids less one).

    Raises:
        DataError: The file is missing, no results list, empty, or has no box on these images; a category is unknown.
        UsageError: `top` is not positive, or `category_ids` is unknown.
    """
    if top is not None and top < 1:
        raise UsageError(f"{top} boxes an image; expected at least 1, or none for all of them")
    if category_ids not in ("dataset", "index"):
        raise UsageError(f"category ids {category_ids!r} are not known; expected dataset or index")
    entries = load_json(path)
    if not isinstance(entries, list) or not entries:
        what = f"a JSON {type(entries).__name__}" if not isinstance(entries, list) else "an empty list"
        raise DataError(
            f"{path}: {what}; expected a detector's results, a list of image_id, category_id, bbox and score"
        )
    table = _table(Path(path), entries, "entry", scored=True)
    places = {record.id: index for index, record in enumerate(dataset.records)}
    index = np.array([places.get(image, -1) for image in table.images.tolist()], np.int64)
    listed = index >= 0
    if not listed.any():
        raise DataError(
            f"{path}: none of its {len(entries)} boxes is on an image of {dataset.json}; is it of another split?"
        )
    categories = _dataset_ids(path, dataset, table.categories[listed], category_ids)
    table = _Table(table.images[listed], categories, table.boxes[listed], table.scores[listed])
    elsewhere = int((~listed).sum())
    return _prompts(str(path), file_hash(Path(path)), dataset, index[listed], table, top, elsewhere)


class _Table(NamedTuple):
    images: Longs
    categories: Longs
    boxes: Doubles
    scores: Doubles


def _table(path: Path, entries: list[Annotation], kind: str, *, scored: bool) -> _Table:
    images, categories, boxes, scores = [], [], [], []
    for number, entry in enumerate(entries):
        try:
            x, y, width, height = (float(value) for value in entry["bbox"])
            images.append(whole(entry["image_id"]))
            categories.append(whole(entry["category_id"]))
            scores.append(float(entry["score"]) if scored else 1.0)
        except (KeyError, TypeError, ValueError) as error:
            wanted = "image_id, category_id, bbox [x, y, w, h]" + (" and score" if scored else "")
            raise DataError(f"{path}: {kind} {number} is not of COCO's form ({error}); expected {wanted}") from error
        boxes.append((x, y, x + width, y + height))
    if bad := int(np.count_nonzero(~np.isfinite(scores))):
        raise DataError(f"{path}: {bad} scores are not finite")
    return _Table(
        np.array(images, np.int64),
        np.array(categories, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
    )


def _dataset_ids(path: Path | str, dataset: CocoInstances, categories: Longs, category_ids: CategoryIds) -> Longs:
    known = np.array(sorted(dataset.truth.categories), np.int64)
    good = (categories >= 0) & (categories < len(known)) if category_ids == "index" else np.isin(categories, known)
    if not good.all():
        ids = Counter(categories[~good].tolist())
        named = ", ".join(str(category) for category in sorted(ids)[:10])
        other = "index" if category_ids == "dataset" else "dataset"
        raise DataError(
            f"{path}: {ids.total()} boxes have category ids that {dataset.json} lacks: {named}; "
            f"does the file count its categories another way (--box-categories {other})?"
        )
    return np.asarray(known[categories] if category_ids == "index" else categories)


def _prompts(
    source: str, sha256: str, dataset: CocoInstances, index: Longs, table: _Table, top: int | None, elsewhere: int
) -> BoxPrompts:
    sizes = np.array([(record.width, record.height) * 2 for record in dataset.records], np.float64)
    limits = sizes[index]
    inside = np.clip(table.boxes, 0, limits)
    with np.errstate(invalid="ignore"):
        good = np.asarray(np.isfinite(table.boxes).all(1) & (inside[:, 2:] > inside[:, :2]).all(1))
        reaching = np.asarray((np.abs(inside - table.boxes) > _OVERHANG).any(1))
    counts = BoxCounts(given=len(index), outside=int((~good).sum()), elsewhere=elsewhere)
    prompts = []
    for rows in _rows_by_image(index, good, len(dataset)):
        kept = rows
        if top is not None and len(rows) > top:
            kept = np.sort(rows[np.argsort(-table.scores[rows], kind="stable")[:top]])
            counts.beyond_top += len(rows) - top
        counts.used += len(kept)
        counts.clipped += int(reaching[kept].sum())
        counts.images_without += not len(kept)
        prompts.append(Prompts(inside[kept].astype(np.float32), table.scores[kept], table.categories[kept]))
    return BoxPrompts(source, sha256, prompts, counts)


def _rows_by_image(index: Longs, good: npt.NDArray[np.bool_], images: int) -> list[Longs]:
    """Rows of each image that are good, in the file's order."""
    rows = np.flatnonzero(good)
    order = rows[np.argsort(index[rows], kind="stable")]
    cuts = np.searchsorted(index[order], np.arange(1, images))
    return [np.asarray(part) for part in np.split(order, cuts)]
