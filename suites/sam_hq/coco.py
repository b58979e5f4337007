"""AP and boundary AP on COCO from box prompts, a detector's scores kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ...heads.run_lengths import Rle, encode_masks
from ...heads.sam.preprocess import frame_image
from ..data.coco import CocoInstances
from ..data.coco_boxes import BoxPrompts
from ..data.coco_results import results_writer
from ..data.coco_rle import box_rles
from ..data.coco_stream import PromptedImage, prompted_images
from ..data.protocols import Sample
from ..metrics.coco_ap import NO_TRUTH, IouType, coco_ap
from .network import BoxFiller, Network

AP_NAMES = {"AP": "map", "AP50": "map50", "AP75": "map75", "AP_S": "map_s", "AP_M": "map_m", "AP_L": "map_l"}


@dataclass
class CocoScores:
    """Scores on COCO.

    Attributes:
        results: The results file, in COCO's format.
        metrics: `map`, `mbap` (boundary AP) and their parts by IoU and size in percent; those without any truth are
            left out. `images` and `masks` scored.
        bad: One line for each image that could not be used.
        empty: Each object whose true mask is empty, by annotation and image; nothing can be found there.
        seconds: Time spent in the network.
    """

    results: Path
    metrics: dict[str, float] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Item(NamedTuple):
    source: PromptedImage
    sample: Sample


def evaluate_coco(
    network: Network | BoxFiller,
    dataset: CocoInstances,
    prompts: BoxPrompts,
    *,
    frame: int,
    results: Path,
    limit: int | None = None,
    max_bad: int = 0,
    workers: int = 0,
    on_image: Callable[[str], None] | None = None,
) -> CocoScores:
    """Prompt with boxes, write the masks as a COCO results file, and score the file.

    The image keeps its aspect and its longest side is `frame`; category and score of a mask are its box's.

    Args:
        network: What answers the prompts; the baseline's answer is the filled box.
        dataset: Images and truth.
        prompts: Boxes of each image.
        frame: Side of the square input in pixels.
        results: Where the results file goes.
        limit: Only the first images.
        max_bad: Unusable images tolerated; they are left out of the score.
        workers: Threads that read images.
        on_image: Called after each image with its name.

    Raises:
        DataError: More than `max_bad` images could not be used, or the file cannot be written.
    """
    scores = CocoScores(results)
    scored: list[int] = []
    before = network.seconds
    images = prompted_images(dataset, prompts, bad=scores.bad, limit=limit, max_bad=max_bad, workers=workers)
    with results_writer(results) as writer:
        for source, rles in _answers(network, images, frame):
            writer.add_encoded(source.record, rles, source.prompts.scores, source.prompts.categories)
            scored.append(source.record.id)
            scores.empty += dataset.empty_objects(source.record)
            if on_image is not None:
                on_image(source.record.file)
    scores.seconds = network.seconds - before
    scores.metrics = {"images": len(scored), "masks": writer.count}
    kinds: tuple[tuple[IouType, str], ...] = (("segm", "map"), ("boundary", "mbap"))
    for kind, prefix in kinds:
        found = coco_ap(dataset.json, results, iou_type=kind, image_ids=scored)
        names = {name: short.replace("map", prefix, 1) for name, short in AP_NAMES.items()}
        scores.metrics |= {short: 100 * found[name] for name, short in names.items() if found[name] != NO_TRUTH}
    return scores


def _answers(
    network: Network | BoxFiller, images: Iterator[PromptedImage], frame: int
) -> Iterator[tuple[PromptedImage, list[Rle]]]:
    if isinstance(network, BoxFiller):
        for image in images:
            yield image, box_rles(image.prompts.boxes, image.record.height, image.record.width)
        return
    items = (_Item(image, _sample(image, frame)) for image in images)
    for item, rles in network.predict(items, lambda item: item.sample, keep=encode_masks):
        yield item.source, rles


def _sample(image: PromptedImage, frame: int) -> Sample:
    pixels, geometry = frame_image(image.image, size=frame, resampling="cv2")
    boxes = geometry.boxes_to_frame(torch.from_numpy(image.prompts.boxes))
    count = len(boxes)
    return Sample(pixels, boxes, np.zeros((0, *geometry.original), bool), np.ones(count, bool), geometry)
