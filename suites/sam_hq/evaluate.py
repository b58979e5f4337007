"""Scores of a system on a set of masks, by one of the published protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from ...errors import DataError
from ...heads.sam.preprocess import resized_size
from ..data.decode import Pixels
from ..data.masks import Bools, MaskDataset, shortened
from ..data.parallel import in_order
from ..data.protocols import Protocol, Sample
from ..metrics import boundary_iou, mask_iou
from ..metrics.edges import NO_EDGE, EdgeErrors, edge_errors
from .network import BoxFiller, Network, tight_box

OnImage = Callable[[str], None]

SHOWN = 1024  # pixels; kept pictures stay in memory for the whole run


class Prediction(NamedTuple):
    """One scored mask, for looking at.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        box: `x0, y0, x1, y1` in the image's pixels, the last pixel inclusive.
        mask: `[H, W]` bool, predicted.
        truth: `[H, W]` bool.
        iou: Mask IoU.
        biou: Boundary IoU.
        edges: Errors by distance to the true edge.
    """

    image: Pixels
    box: tuple[float, float, float, float]
    mask: Bools
    truth: Bools
    iou: float
    biou: float
    edges: EdgeErrors


@dataclass
class Scores:
    """Scores of one data set, a value per mask.

    Attributes:
        names: Image of each mask.
        iou: Mask IoU, 0..1, at the original resolution.
        biou: Boundary IoU, likewise.
        empty: Image of each mask whose truth is empty; an empty prediction is right there (IoU 1), anything else wrong
            (IoU 0).
        unprompted: Image of each mask that is lost when its label is resized to the frame, so that there is no box to
            prompt with; the prediction is empty (IoU 0).
        bad: One line for each image that could not be read.
        kept: Predictions that were asked for, their pictures no longer than 1024 pixels.
        edges: Errors by distance to the true edge, summed over all masks.
        seconds: Time spent in the network.
    """

    names: list[str] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    biou: list[float] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unprompted: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    kept: list[tuple[str, Prediction]] = field(default_factory=list)
    edges: EdgeErrors = NO_EDGE
    seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        """`miou` and `mbiou` in percent, `n` masks."""
        return {
            "miou": 100 * float(np.mean(self.iou)),
            "mbiou": 100 * float(np.mean(self.biou)),
            "n": len(self.iou),
        }


class _Item(NamedTuple):
    place: int
    image: Pixels
    sample: Sample


def evaluate(
    network: Network | BoxFiller,
    dataset: MaskDataset,
    *,
    protocol: Protocol,
    frame: int,
    limit: int | None = None,
    max_bad: int = 0,
    keep: int = 0,
    workers: int = 0,
    on_image: OnImage | None = None,
) -> Scores:
    """Prompt with the tight box of each true mask and compare the prediction with the mask.

    Args:
        network: What answers the prompts.
        dataset: Images and masks.
        protocol: Geometry, box source and upsampling.
        frame: Side of the square input in pixels.
        limit: Only the first images.
        max_bad: Unreadable images tolerated; more of them is an error, raised after all were tried.
        keep: Predictions kept for a gallery, spread over the set.
        workers: Threads that read images and score masks beside the network; the scores do not depend on it.
        on_image: Called after each image with its name.

    Raises:
        DataError: More than `max_bad` images could not be read, or none could; they are named.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    kept = {round(i * (count - 1) / max(keep - 1, 1)) for i in range(min(keep, count))}
    scores = Scores()
    before = network.seconds

    def prepare(index: int) -> _Item | DataError:
        try:
            image = dataset.image(index)
            sample = protocol.prepare(image, dataset.labels(index), frame=frame, threshold=dataset.threshold)
        except DataError as error:
            return error
        return _Item(index, image, sample)

    def readable(items: Iterator[_Item | DataError]) -> Iterator[_Item]:
        for item in items:
            if isinstance(item, DataError):
                scores.bad.append(str(item))
            else:
                yield item

    def score(predicted: tuple[_Item, list[Bools]]) -> tuple[_Item, list[Prediction]]:
        item, masks = predicted
        return item, [
            Prediction(
                item.image,
                tight_box(truth),
                mask,
                truth,
                mask_iou(mask, truth),
                boundary_iou(mask, truth),
                edge_errors(mask, truth),
            )
            for mask, truth in zip(masks, item.sample.truth, strict=True)
        ]

    with ThreadPoolExecutor(workers, thread_name_prefix="evaluate") if workers else nullcontext() as pool:
        items = readable(in_order(prepare, range(count), pool))
        for item, predictions in in_order(score, network.predict(items, lambda item: item.sample, keep=list), pool):
            name = dataset.items[item.place]
            for found, has_box in zip(predictions, item.sample.has_box, strict=True):
                scores.names.append(name)
                scores.iou.append(found.iou)
                scores.biou.append(found.biou)
                scores.edges += found.edges
                if not found.truth.any():
                    scores.empty.append(name)
                elif not has_box:
                    scores.unprompted.append(name)
            if item.place in kept and predictions:
                scores.kept.append((name, shrunk(predictions[0], SHOWN)))
            if on_image is not None:
                on_image(name)
    scores.seconds = network.seconds - before
    if len(scores.bad) > max_bad or not scores.iou:
        raise DataError(
            f"{dataset.name}: {len(scores.bad)} of {count} images could not be used: {shortened(scores.bad)}; "
            f"mend them, or tolerate them with --max-bad {len(scores.bad)}"
        )
    return scores


def shrunk(found: Prediction, side: int) -> Prediction:
    """The prediction with pictures whose longer side has `side` pixels, or as it is where they are no larger."""
    height, width = found.mask.shape
    if max(height, width) <= side:
        return found
    rows, columns = resized_size(height, width, side)

    def mask(full: Bools) -> Bools:
        return np.asarray(cv2.resize(full.view(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST), bool)

    x0, y0, x1, y1 = found.box
    across, down = columns / width, rows / height
    return found._replace(
        image=np.asarray(cv2.resize(found.image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8),
        box=(x0 * across, y0 * down, x1 * across, y1 * down),
        mask=mask(found.mask),
        truth=mask(found.truth),
    )
