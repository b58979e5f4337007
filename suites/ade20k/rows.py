"""What a row of the suite `ade20k` holds: metrics, the table of classes, the contact sheet beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import nn

from ...heads.upernet import Segmenter
from ...results.gallery.semseg import SemanticItem, semantic_gallery
from ..data.semseg_classes import ClassTable
from ..metrics.semseg import Counts, semantic_scores
from .evaluate import Evaluation


def score_metrics(matrix: Counts) -> dict[str, float]:
    """Scores in percent."""
    scores = semantic_scores(matrix)
    return {"miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc}


def class_samples(matrix: Counts, table: ClassTable) -> dict[str, list[Any]]:
    """The table of classes: name, IoU and accuracy in percent (None where there is nothing to score), pixels."""
    scores = semantic_scores(matrix)

    def told(values: Any) -> list[float | None]:
        return [None if math.isnan(value) else round(float(value), 4) for value in values]

    return {
        "class/name": list(table.names),
        "class/iou": told(scores.iou),
        "class/acc": told(scores.acc),
        "class/pixels": matrix.sum(1).tolist(),
        "class/predicted_pixels": matrix.sum(0).tolist(),
    }


def image_samples(found: Evaluation) -> dict[str, list[Any]]:
    """Name and pixel accuracy of every image."""
    return {
        "image/name": found.names,
        "image/acc": [None if value is None else round(value, 4) for value in found.right],
    }


def parameter_counts(segmenter: Segmenter) -> dict[str, float]:
    """Parameters of the backbone alone, of neck and UperNet, and of all, the auxiliary head of training included."""

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    return {
        "params_backbone": count(segmenter.backbone),
        "params_decoder": count(segmenter.neck) + count(segmenter.decode_head),
        "params_total": count(segmenter),
    }


def draw_gallery(path: Path, found: Evaluation, table: ClassTable) -> None:
    """Draw the contact sheet of the predictions that were kept."""
    right = dict(zip(found.names, found.right, strict=True))
    items = [
        SemanticItem(
            one.image,
            one.truth,
            one.prediction,
            one.name if right[one.name] is None else f"{one.name}: {right[one.name]:.1f} % of the pixels right",
        )
        for one in found.shown
    ]
    if items:
        semantic_gallery(items, table.names, path)
