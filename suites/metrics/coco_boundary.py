"""The matching of boundary AP, put into faster-coco-eval's evaluation of masks.

Its own (`boundary`) takes wrong bands where an image's short side is at most twice their width, and takes them of every
detection; this one takes them where an image has both objects and detections of a category.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval.core.coco import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from pycocotools import mask as coco_mask

from ...heads.run_lengths import Rle, encode_mask
from ..data.coco_rle import decode_masks
from .masks import boundary_band

DILATION_RATIO = 0.02


class BoundaryEvaluation(COCOeval_faster):  # type: ignore[misc]
    """Evaluates `segm` with the smaller of mask IoU and boundary IoU, and for crowds with the mask IoU."""

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802
        overlaps = super().computeIoU(imgId, catId)
        if not len(overlaps):
            return overlaps
        objects = _entries(self.cocoGt, imgId, catId)
        found = _entries(self.cocoDt, imgId, catId)
        order = np.argsort([-entry["score"] for entry in found], kind="stable")[: self.params.maxDets[-1]]
        bands = _band_overlaps([found[at] for at in order], objects)
        plain = np.array([not entry["iscrowd"] for entry in objects])
        overlaps[:, plain] = np.minimum(overlaps[:, plain], bands[:, plain])
        return overlaps


def _entries(api: COCO, image: int, category: int) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = api.loadAnns(api.getAnnIds(imgIds=[image], catIds=[category]))
    return entries


def _band_overlaps(found: list[dict[str, Any]], objects: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    bands = [[_band(entry["segmentation"]) for entry in entries] for entries in (found, objects)]
    return np.asarray(coco_mask.iou(*bands, [0] * len(objects)))


def _band(rle: Rle) -> Rle:
    (mask,) = decode_masks([rle], *rle["size"])
    return encode_mask(boundary_band(mask, dilation_ratio=DILATION_RATIO))
