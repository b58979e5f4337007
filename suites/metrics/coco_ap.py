"""COCO's average precision of masks (AP) and of their boundaries (AP_B), as pycocotools and boundary-iou-api count."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from ...heads.run_lengths import Rle
from ..data.coco_json import CocoTruth, is_crowd, load_json, read_truth
from ..data.coco_rle import area, to_rle

IouType = Literal["segm", "boundary"]
NO_TRUTH = -1.0
"""What stands where nothing could be found, as pycocotools has it: leave it out of means and tables."""

MAX_DETECTIONS = (1, 10, 100)
_SIZES = ("S", "M", "L")  # pycocotools' areas after the first, which is all of them
_AP_DETECTIONS = 100


def coco_ap(
    ground_truth_json: Path | str | Mapping[str, Any],
    results_json: Path | str | Sequence[Mapping[str, Any]],
    *,
    iou_type: IouType = "segm",
    max_dets: Sequence[int] = MAX_DETECTIONS,
    image_ids: Collection[int] | None = None,
) -> dict[str, Any]:
    """Average precision and recall over IoU thresholds 0.5, 0.55, ..., 0.95.

    Equal to pycocotools' `COCOeval` for `segm`; for `boundary` to boundary-iou-api's, whose matching takes the smaller
    of mask IoU and boundary IoU (for crowds the mask IoU alone). Small, medium and large are told apart by the masks'
    areas: a `bbox` in the results is ignored.

    Args:
        ground_truth_json: An instances file, or its content.
        results_json: A results file with RLE masks, or its content; neither is changed.
        iou_type: `segm` or `boundary`.
        max_dets: Detections of an image and a category that count, ascending. AP is read at 100 where that is among
            them, and AP50, AP75 and those by size at the last, as pycocotools does; RWKV-SAM has (100, 300, 1000).
        image_ids: Score these images only, and take no notice of results on others; by default all images.

    Returns:
        As fractions: `AP`, `AP50`, `AP75`, `AP_S`, `AP_M`, `AP_L`; `AR1`, `AR10`, `AR100` (named by `max_dets`),
        `AR_S`, `AR_M`, `AR_L`; each `NO_TRUTH` (-1) where no object could have been found. `per_category`: AP by
        category id, likewise. `images`, `objects`, `crowds`, `detections`: how many were scored.

    Raises:
        DataError: A file is missing or malformed; there are no results or no objects; results name unknown images or
            categories; a mask is missing, malformed or of another size than its image.
        UsageError: An unknown IoU type, malformed `max_dets`, or `image_ids` that the ground truth does not list.
    """
    if iou_type not in ("segm", "boundary"):
        raise UsageError(f"IoU type {iou_type!r} is not known; expected segm or boundary")
    if not max_dets or list(max_dets) != sorted(set(max_dets)) or max_dets[0] < 1:
        raise UsageError(f"max_dets is {list(max_dets)}; expected ascending positive numbers")
    truth = read_truth(ground_truth_json)
    if truth.federated:
        raise UsageError(f"{truth.source} is of LVIS; its federated AP is another metric, which this does not compute")
    chosen = _chosen(truth, image_ids)
    objects = _truth_entries(truth, chosen)
    found = _result_entries(results_json, truth, chosen)
    precision, recall = _evaluate(truth, chosen, objects, found, iou_type, list(max_dets))
    last = len(max_dets) - 1
    at = max_dets.index(_AP_DETECTIONS) if _AP_DETECTIONS in max_dets else last
    categories = sorted(truth.categories)
    return {
        "AP": _mean(precision[:, :, :, 0, at]),
        "AP50": _mean(precision[0, :, :, 0, last]),
        "AP75": _mean(precision[5, :, :, 0, last]),
        **{f"AP_{size}": _mean(precision[:, :, :, 1 + place, last]) for place, size in enumerate(_SIZES)},
        **{f"AR{count}": _mean(recall[:, :, 0, place]) for place, count in enumerate(max_dets)},
        **{f"AR_{size}": _mean(recall[:, :, 1 + place, last]) for place, size in enumerate(_SIZES)},
        "per_category": {category: _mean(precision[:, :, place, 0, at]) for place, category in enumerate(categories)},
        "images": len(chosen),
        "objects": sum(not note["iscrowd"] for note in objects),
        "crowds": sum(note["iscrowd"] for note in objects),
        "detections": len(found),
    }


def _chosen(truth: CocoTruth, image_ids: Collection[int] | None) -> list[int]:
    if image_ids is None:
        return sorted(truth.images)
    unknown = sorted(set(image_ids) - set(truth.images))
    if unknown or not image_ids:
        raise UsageError(f"image_ids are {unknown[:5] or 'none at all'}; expected ids that {truth.source} lists")
    return sorted(set(image_ids))


def _truth_entries(truth: CocoTruth, chosen: list[int]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for image_id in chosen:
        image = truth.images[image_id]
        for note in truth.annotations.get(image_id, []):
            try:
                rle = to_rle(note["segmentation"], image.height, image.width)
                # An area is COCO's own where the file states it: that of its polygons, not of their pixels.
                size = float(area(rle) if note.get("area") is None else _number("area", note["area"]))
            except ValueError as error:
                name = f"annotation {note.get('id', '?')} of image {image_id} ({image.file})"
                raise DataError(f"{truth.source}: {name}: {error}") from error
            # Matching marks an object by its id and reads 0 as none, so ids are given anew, from 1.
            entries.append(_entry(len(entries) + 1, note, rle) | {"area": size, "iscrowd": int(is_crowd(note))})
    if not any(not entry["iscrowd"] for entry in entries):
        raise DataError(
            f"{truth.source}: no object in the {len(chosen)} images that are scored; there is nothing to find"
        )
    return entries


def _result_entries(
    source: Path | str | Sequence[Mapping[str, Any]], truth: CocoTruth, chosen: list[int]
) -> list[dict[str, Any]]:
    in_memory = not isinstance(source, (str, Path))
    name = "results" if in_memory else str(source)
    results = load_json(source) if isinstance(source, (str, Path)) else source
    if isinstance(results, Mapping) or not isinstance(results, Sequence):
        raise DataError(f"{name}: a JSON {type(results).__name__}; expected COCO results, a list with an entry a mask")
    if not len(results):
        raise DataError(f"{name}: holds no results; expected a list with an entry a mask")
    scored = set(chosen)
    entries: list[dict[str, Any]] = []
    problems: dict[str, list[str]] = {}
    for number, result in enumerate(results):
        try:
            checked = _checked(result, truth)
        except ValueError as error:
            problems.setdefault(str(error).partition(":")[0], []).append(f"entry {number}: {error}")
        else:
            if int(result["image_id"]) in scored:
                more = {"score": float(result["score"]), "area": float(area(checked)), "iscrowd": 0}
                entries.append(_entry(len(entries) + 1, result, checked) | more)
    if problems:
        kinds = "; ".join(f"{len(lines)} of {len(results)} ({lines[0]})" for lines in problems.values())
        raise DataError(f"{name}: bad results for {truth.source}: {kinds}")
    return entries


def _checked(result: Any, truth: CocoTruth) -> Rle:
    """The mask of a result that can be scored; the text before the first colon of an error is its kind."""
    if not isinstance(result, Mapping) or not {"image_id", "category_id", "score"} <= set(result):
        raise ValueError(f"no result: {result!r:.60}; expected image_id, category_id, segmentation and score")
    if not _listed(result["image_id"], truth.images):
        raise ValueError(f"unknown image: id {result['image_id']!r}")
    if not _listed(result["category_id"], truth.categories):
        known = f"{min(truth.categories)}..{max(truth.categories)}"
        raise ValueError(f"unknown category: id {result['category_id']!r}, known are {known}")
    _number("score", result["score"])
    if "segmentation" not in result:
        raise ValueError("no mask: only a box; expected a segmentation")
    image = truth.images[int(result["image_id"])]
    try:
        return to_rle(result["segmentation"], image.height, image.width)
    except ValueError as error:
        raise ValueError(f"bad mask: image {image.id} ({image.file}): {error}") from error


def _number(name: str, value: Any) -> float:
    plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        number = float(value) if plain else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"bad {name}: {value!r:.40}")
    return number


def _listed(value: Any, known: Mapping[int, Any]) -> bool:
    # A whole number that was written as a float is the same key.
    return isinstance(value, (int, float, np.number)) and value in known


def _entry(number: int, source: Mapping[str, Any], rle: Rle) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": int(source["image_id"]),
        "category_id": int(source["category_id"]),
        "segmentation": rle,
    }


def _evaluate(
    truth: CocoTruth,
    chosen: list[int],
    objects: list[dict[str, Any]],
    found: list[dict[str, Any]],
    iou_type: IouType,
    max_dets: list[int],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Precision `[threshold, recall, category, area, count]` and recall `[threshold, category, area, count]`."""
    from faster_coco_eval.core.coco import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    from .coco_boundary import BoundaryEvaluation

    images = [
        {"id": image, "height": truth.images[image].height, "width": truth.images[image].width} for image in chosen
    ]
    categories = [{"id": category} for category in sorted(truth.categories)]
    expected = COCO({"images": images, "annotations": objects, "categories": categories})
    detected = COCO({"images": images, "annotations": found, "categories": categories})
    evaluation = (BoundaryEvaluation if iou_type == "boundary" else COCOeval_faster)(expected, detected, "segm")
    evaluation.params.maxDets = max_dets
    evaluation.params.imgIds = chosen
    evaluation.evaluate()
    evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[values > NO_TRUTH]
    return float(known.mean()) if len(known) else NO_TRUTH
