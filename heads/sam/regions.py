"""Geometry of masks for automatic segmentation: boxes, stability, crops (segment-anything)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Bools = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]


def mask_box(mask: Bools) -> Box:
    """Tight box (x0, y0, x1, y1) of a mask `[H, W]`, the last pixel inclusive; all zeros of an empty mask."""
    import cv2

    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (x, y, x + width - 1, y + height - 1) if width else (0, 0, 0, 0)


def stability(logits: Tensor, offset: float) -> Tensor:
    """IoU of the masks cut at `+offset` and at `-offset`, 0 where nothing is above `-offset`.

    Args:
        logits: `[K, H, W]`.
        offset: Positive.

    Returns:
        `[K]`, 0..1.
    """
    inner, outer = ((logits > cut).flatten(1).sum(1) for cut in (offset, -offset))
    return inner / outer.clamp(min=1)


def point_grid(side: int) -> npt.NDArray[np.float32]:
    """Centres of `side` x `side` cells, `[side**2, 2]` as (x, y), 0..1."""
    centres = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2).astype(np.float32)


def crop_boxes(height: int, width: int, *, layers: int, overlap: float) -> list[tuple[Box, int]]:
    """The image itself (layer 0) and its crops with the layer of each: layer n has 2^n x 2^n overlapping ones.

    Args:
        height: Of the image, in pixels.
        width: Likewise.
        layers: Layers besides the image itself.
        overlap: Of neighbours in layer 1, as a share of the image's short side; half of it in each further layer.

    Returns:
        (x0, y0, x1, y1) with the last pixel exclusive, and the layer; empty crops of a tiny image are left out.
    """
    found = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap * min(height, width) * (2 / count))
        across, down = (math.ceil((shared * (count - 1) + side) / count) for side in (width, height))
        for column in range(count):
            for row in range(count):
                x0, y0 = (across - shared) * column, (down - shared) * row
                found.append(((x0, y0, min(x0 + across, width), min(y0 + down, height)), layer))
    return [(box, layer) for box, layer in found if box[2] > box[0] and box[3] > box[1]]


def touches_crop(box: Sequence[int], crop: Box, *, height: int, width: int, near: int = 20) -> bool:
    """Whether a box ends within `near` pixels of a crop's edge that is not within `near` of the image's."""
    image = (0, 0, width, height)
    return any(abs(a - b) <= near < abs(a - c) for a, b, c in zip(box, crop, image, strict=True))


def remove_small(mask: Bools, area: float, mode: Literal["holes", "islands"]) -> tuple[Bools, bool]:
    """Fill the holes, or drop the islands, of fewer than `area` pixels (8-connected); the largest island stays.

    Returns:
        The mask `[H, W]`, and whether it changed.
    """
    import cv2

    searched = ~mask if mode == "holes" else mask
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(searched.astype(np.uint8), connectivity=8)
    sizes = statistics[1:, cv2.CC_STAT_AREA]
    small = sizes < area
    if not small.any():
        return mask, False
    if mode == "islands" and small.all():
        small[sizes.argmax()] = False
    chosen = np.concatenate([[False], small])[parts]
    return (mask | chosen if mode == "holes" else mask & ~chosen), True


def suppress(boxes: Sequence[Sequence[float]], scores: Sequence[float], threshold: float) -> list[int]:
    """Indices of the boxes that non-maximum suppression keeps, best first.

    Args:
        boxes: (x0, y0, x1, y1) each.
        scores: One for each box.
        threshold: Of two boxes with a larger IoU the one of the lower score goes.
    """
    if not boxes:
        return []
    from torchvision.ops import nms

    corners = torch.tensor(boxes, dtype=torch.float32)
    # Boxes of a single row or column have no area here, and would overlap nothing, not even their like.
    corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2] + 0.5)
    kept: Tensor = nms(corners, torch.tensor(scores, dtype=torch.float32), threshold)
    return [int(index) for index in kept]
