"""Where a predicted mask is wrong: errors by distance to the true edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .masks import Mask

EDGE_PERCENT = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 100.0)
"""Upper ends of the bins of distance, in percent of the image's diagonal."""


@dataclass(frozen=True)
class EdgeErrors:
    """Pixels of an image by their distance to the true edge, a count for each of `EDGE_PERCENT`.

    Attributes:
        wrong: Those that prediction and truth differ in.
        pixels: All.
    """

    wrong: tuple[int, ...]
    pixels: tuple[int, ...]

    def __add__(self, other: EdgeErrors) -> EdgeErrors:
        """The sums of both."""
        wrong = (ours + theirs for ours, theirs in zip(self.wrong, other.wrong, strict=True))
        pixels = (ours + theirs for ours, theirs in zip(self.pixels, other.pixels, strict=True))
        return EdgeErrors(tuple(wrong), tuple(pixels))


NO_EDGE = EdgeErrors((0,) * len(EDGE_PERCENT), (0,) * len(EDGE_PERCENT))


def edge_errors(pred: Mask, truth: Mask) -> EdgeErrors:
    """Count right and wrong pixels of two masks `[H, W]` by their distance to the edge of `truth`.

    A pixel's distance is that of its centre to the border between it and the nearest pixel on the other side. A truth
    that is empty or fills the image has no edge: all counts are 0.

    Raises:
        ValueError: The masks are not two-dimensional or differ in size.
    """
    if pred.ndim != 2 or pred.shape != truth.shape:
        raise ValueError(f"masks of shape {pred.shape} and {truth.shape}; expected two [H, W] masks of one size")
    inside = (truth != 0).view(np.uint8)
    if not 0 < cv2.countNonZero(inside) < inside.size:
        return NO_EDGE
    sides = [cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (inside, 1 - inside)]
    percent = (sides[0] + sides[1] - 0.5) * (100 / math.hypot(*truth.shape))
    wrong = (pred != 0) != (truth != 0)
    bins = np.searchsorted(np.array(EDGE_PERCENT[:-1], np.float32), percent.astype(np.float32))
    count = len(EDGE_PERCENT)
    pixels = np.bincount(bins.reshape(-1), minlength=count)
    missed = np.bincount(bins[wrong], minlength=count)
    return EdgeErrors(tuple(map(int, missed)), tuple(map(int, pixels)))
