"""Scores of a segmenter on a set, its images shared by the processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ...heads.sam.preprocess import resized_size
from ..data.decode import Pixels
from ..data.parallel import in_order
from ..data.semseg import SemanticDataset
from ..metrics.semseg import Counts, confusion
from ..training.shards import gathered, my_share

SHOWN = 512  # pixels; kept pictures stay in memory, and travel between processes


class Shown(NamedTuple):
    """One prediction, for looking at: image `[H, W, 3]` RGB, truth and prediction `[H, W]` class numbers."""

    name: str
    image: Pixels
    truth: Pixels
    prediction: Pixels


class Evaluation(NamedTuple):
    """What came out on a set.

    Attributes:
        matrix: Pixels by true and predicted class, of all images, `[K, K]`.
        names: Each image.
        right: Share of each image's labelled pixels that are right, in percent; None where none is labelled.
        shown: Predictions that were asked for.
    """

    matrix: Counts
    names: list[str]
    right: list[float | None]
    shown: list[Shown]


class _Found(NamedTuple):
    """An image's confusion matrix as its non-zero cells, which is little to send."""

    cells: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    shown: Shown | None


def evaluate(
    predict: Callable[[Pixels], Pixels],
    dataset: SemanticDataset,
    *,
    limit: int | None = None,
    keep: int = 0,
    workers: int = 1,
    on_image: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict each image and count its pixels by true and predicted class.

    Every process of a run must call this; each image is one process's, and all get the whole result.

    Args:
        predict: From an image `[H, W, 3]` to class numbers `[H, W]`.
        dataset: Images and classes.
        limit: Only the first images.
        keep: Predictions kept for a gallery, spread over the set.
        workers: Threads that read images beside the network.
        on_image: Called with (images done, images in all) of this process.

    Raises:
        DataError: An image cannot be read.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    kept = {round(i * (count - 1) / max(keep - 1, 1)) for i in range(min(keep, count))}
    classes = len(dataset.table)
    mine = my_share(count)
    found: dict[int, _Found] = {}
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="evaluate") as pool:
        read = in_order(lambda index: (dataset.image(index), dataset.classes(index)), mine, pool)
        for index, (image, truth) in zip(mine, read, strict=True):
            prediction = predict(image)
            matrix = confusion(prediction, truth, classes).ravel()
            cells = np.flatnonzero(matrix)
            shown = _shrunk(Shown(dataset.items[index], image, truth, prediction)) if index in kept else None
            found[index] = _Found(cells, matrix[cells], shown)
            if on_image is not None:
                on_image(len(found), len(mine))
    total = np.zeros(classes * classes, np.int64)
    right: list[float | None] = []
    results = gathered(found, count).values()
    for one in results:
        total[one.cells] += one.counts
        diagonal = one.cells % (classes + 1) == 0
        pixels = int(one.counts.sum())
        right.append(100 * int(one.counts[diagonal].sum()) / pixels if pixels else None)
    shown_all = [one.shown for one in results if one.shown is not None]
    return Evaluation(total.reshape(classes, classes), list(dataset.items[:count]), right, shown_all)


def _shrunk(found: Shown) -> Shown:
    height, width = found.truth.shape
    if max(height, width) <= SHOWN:
        return found
    rows, columns = resized_size(height, width, SHOWN)

    def numbers(plane: Pixels) -> Pixels:
        return np.asarray(cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_NEAREST), np.uint8)

    small = np.asarray(cv2.resize(found.image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return Shown(found.name, small, numbers(found.truth), numbers(found.prediction))
