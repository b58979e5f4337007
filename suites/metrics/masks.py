"""Mask IoU and boundary IoU of one mask pair, at the resolution of the masks."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[Any]


def mask_iou(pred: Mask, truth: Mask) -> float:
    """Intersection over union of two masks `[H, W]`; non-zero is foreground.

    Two empty masks agree and score 1.0; an empty one against a non-empty one scores 0.0. (HQ-SAM's code divides 0 by 0
    there, and one such image turns a whole set's mean into NaN; boundary-iou-api scores it 0.)

    Raises:
        ValueError: The masks are not two-dimensional or differ in size.
    """
    one, other = _binary(pred, truth)
    return _ratio(cv2.countNonZero(one & other), cv2.countNonZero(one | other))


def boundary_iou(pred: Mask, truth: Mask, *, dilation_ratio: float = 0.02) -> float:
    """Intersection over union of the inner boundary bands of two masks `[H, W]` (Cheng et al., arXiv 2103.16562).

    The band is what an erosion by a 3x3 square, iterated `boundary_width` times, takes away; the outside of the image
    counts as background. Empty masks are treated as in `mask_iou`.

    Raises:
        ValueError: The masks are not two-dimensional or differ in size, or the ratio is not positive.
    """
    one, other = _binary(pred, truth)
    width = boundary_width(one.shape[0], one.shape[1], dilation_ratio)
    x, y, columns, rows = cv2.boundingRect(one | other)
    # Nothing lies outside this crop, and the erosion sees zeros around it: the bands are the whole image's, exactly.
    crop = (slice(y, y + rows), slice(x, x + columns))
    if rows == 0:
        return 1.0
    band, other_band = _band(one[crop], width), _band(other[crop], width)
    return _ratio(cv2.countNonZero(band & other_band), cv2.countNonZero(band | other_band))


def boundary_width(height: int, width: int, dilation_ratio: float = 0.02) -> int:
    """Pixels of the boundary band: `dilation_ratio` of the image's diagonal, rounded half to even, at least 1.

    Raises:
        ValueError: The ratio is not positive.
    """
    if not dilation_ratio > 0:
        raise ValueError(f"dilation_ratio is {dilation_ratio}; expected a positive number")
    return max(1, round(dilation_ratio * math.sqrt(height * height + width * width)))


def boundary_band(mask: Mask, *, dilation_ratio: float = 0.02) -> npt.NDArray[np.uint8]:
    """The inner boundary band of a mask `[H, W]`, as 0/1."""
    binary, _ = _binary(mask, mask)
    return _band(binary, boundary_width(binary.shape[0], binary.shape[1], dilation_ratio))


def _binary(pred: Mask, truth: Mask) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    if pred.ndim != 2 or pred.shape != truth.shape:
        raise ValueError(f"masks of shape {pred.shape} and {truth.shape}; expected two [H, W] masks of one size")
    return (pred != 0).view(np.uint8), (truth != 0).view(np.uint8)


def _band(mask: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    # `width` erosions by a 3x3 square are one by a square of side 2 * width + 1, which OpenCV does separably.
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inside = np.asarray(cv2.erode(mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
    return mask - inside


def _ratio(intersection: int, union: int) -> float:
    return intersection / union if union else 1.0
