"""Scores of a system on a set of masks, by one of the published protocols."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from ...errors import DataError
from ...heads.sam import System
from ..data.masks import MaskDataset, shortened
from ..data.protocols import Protocol, Sample
from ..metrics import boundary_iou, mask_iou

OnImage = Callable[[str], None]


class Prediction(NamedTuple):
    """One scored mask, for looking at.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        box: `x0, y0, x1, y1` in the image's pixels, the last pixel inclusive.
        mask: `[H, W]` bool, predicted.
        truth: `[H, W]` bool.
        iou: Mask IoU.
        biou: Boundary IoU.
    """

    image: np.ndarray  # type: ignore[type-arg]
    box: tuple[float, float, float, float]
    mask: np.ndarray  # type: ignore[type-arg]
    truth: np.ndarray  # type: ignore[type-arg]
    iou: float
    biou: float


@dataclass
class Scores:
    """Scores of one data set, a value per mask.

    Attributes:
        names: Image of each mask.
        iou: Mask IoU, 0..1, at the original resolution.
        biou: Boundary IoU, likewise.
        empty: Masks whose truth is empty; an empty prediction is right there (IoU 1), anything else wrong (IoU 0).
        bad: One line for each image that could not be read.
        kept: Predictions that were asked for.
        seconds: Time spent in the network.
    """

    names: list[str] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    biou: list[float] = field(default_factory=list)
    empty: int = 0
    bad: list[str] = field(default_factory=list)
    kept: list[tuple[str, Prediction]] = field(default_factory=list)
    seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        """`miou` and `mbiou` in percent, `n` masks."""
        return {
            "miou": 100 * float(np.mean(self.iou)),
            "mbiou": 100 * float(np.mean(self.biou)),
            "n": len(self.iou),
        }


@torch.inference_mode()
def evaluate(
    system: System | None,
    dataset: MaskDataset,
    *,
    protocol: Protocol,
    frame: int,
    device: str = "cpu",
    limit: int | None = None,
    max_bad: int = 0,
    keep: int = 0,
    on_image: OnImage | None = None,
) -> Scores:
    """Prompt with the tight box of each true mask and compare the prediction with the mask.

    Args:
        system: The system, in evaluation mode; None predicts the filled box itself.
        dataset: Images and masks.
        protocol: Geometry, box source and upsampling.
        frame: Side of the square input in pixels.
        device: Torch device of the system.
        limit: Only the first images.
        max_bad: Unreadable images tolerated; more of them is an error, raised after all were tried.
        keep: Predictions kept for a gallery, spread over the set.
        on_image: Called after each image with its name.

    Raises:
        DataError: More than `max_bad` images could not be read, or none could; they are named.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    kept = {round(i * (count - 1) / max(keep - 1, 1)) for i in range(min(keep, count))}
    scores = Scores()
    for index in range(count):
        name = dataset.items[index]
        try:
            image = dataset.image(index)
            sample = protocol.prepare(image, dataset.labels(index), frame=frame, threshold=dataset.threshold)
        except DataError as error:
            scores.bad.append(str(error))
            continue
        started = time.perf_counter()
        masks = _predict(system, sample, protocol, device)
        scores.seconds += time.perf_counter() - started
        for mask, truth in zip(masks, sample.truth, strict=True):
            scores.names.append(name)
            scores.iou.append(mask_iou(mask, truth))
            scores.biou.append(boundary_iou(mask, truth))
            scores.empty += not truth.any()
        if index in kept and len(masks):
            prediction = Prediction(
                image,
                _tight_box(sample.truth[0]),
                masks[0],
                sample.truth[0],
                scores.iou[-len(masks)],
                scores.biou[-len(masks)],
            )
            scores.kept.append((name, prediction))
        if on_image is not None:
            on_image(name)
    if len(scores.bad) > max_bad or not scores.iou:
        raise DataError(
            f"{dataset.name}: {len(scores.bad)} of {count} images could not be used: {shortened(scores.bad)}; "
            f"mend them, or tolerate them with --max-bad {len(scores.bad)}"
        )
    return scores


def _predict(system: System | None, sample: Sample, protocol: Protocol, device: str) -> np.ndarray:  # type: ignore[type-arg]
    masks = np.zeros(sample.truth.shape, dtype=bool)
    if system is None:
        for mask, truth in zip(masks, sample.truth, strict=True):
            if truth.any():
                x0, y0, x1, y1 = (int(v) for v in _tight_box(truth))
                mask[y0 : y1 + 1, x0 : x1 + 1] = True
        return masks
    prompted = np.flatnonzero(sample.has_box)
    if len(prompted):
        embedding = system.encode(sample.image[None].to(device))
        logits, _ = system.decode(embedding, boxes=sample.boxes[torch.from_numpy(prompted)].to(device))
        masks[prompted] = protocol.restore(logits, sample.geometry)
    return masks


def _tight_box(mask: np.ndarray) -> tuple[float, float, float, float]:  # type: ignore[type-arg]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])
