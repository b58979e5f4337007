"""Scores of semantic segmentation over a whole set: intersections and unions are summed first, then divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import UsageError

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SemanticScores:
    """Scores in percent; a class is NaN where it has no pixel to be scored by.

    Attributes:
        miou: Mean of the classes' intersections over unions, of those that occur in truth or prediction.
        macc: Mean share of a class's pixels that are right, of those that occur in the truth.
        aacc: Share of all pixels that are right.
        iou: Of each class, `[K]`.
        acc: Likewise.
    """

    miou: float
    macc: float
    aacc: float
    iou: Shares
    acc: Shares


def confusion(prediction: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], classes: int) -> Counts:
    """Pixels by true class (rows) and predicted class (columns), `[K, K]`.

    Args:
        prediction: Class numbers `[H, W]`, all below `classes`.
        truth: Class numbers `[H, W]`; pixels with `classes` or more (255) are not counted.
        classes: Number of classes K.

    Raises:
        UsageError: The sizes differ, or a prediction is no class.
    """
    if prediction.shape != truth.shape:
        raise UsageError(f"prediction {prediction.shape} and truth {truth.shape} differ in size")
    if prediction.size and not 0 <= int(prediction.min()) <= int(prediction.max()) < classes:
        raise UsageError(f"predictions are {prediction.min()}..{prediction.max()}; expected 0..{classes - 1}")
    counted = truth < classes
    pairs = truth[counted].astype(np.int64) * classes + prediction[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def semantic_scores(matrix: Counts) -> SemanticScores:
    """Scores of a confusion matrix `[K, K]`, rows the truth.

    Raises:
        UsageError: No pixel was counted.
    """
    if not matrix.sum():
        raise UsageError("no pixel of any class to score")
    right, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    iou, acc = _shares(right, true + predicted - right), _shares(right, true)
    return SemanticScores(
        float(np.nanmean(iou)), float(np.nanmean(acc)), float(100 * right.sum() / matrix.sum()), iou, acc
    )


def constant_confusion(pixels: Counts, number: int) -> Counts:
    """The matrix of predicting one class everywhere, from the pixels of each true class `[K]`."""
    matrix = np.zeros((len(pixels), len(pixels)), np.int64)
    matrix[:, number] = pixels
    return matrix


def _shares(part: Counts, whole: Counts) -> Shares:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, 100 * part / whole, np.nan)
