"""What a row of the suite `classification` holds: scores of every image, of every class, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ...heads.classifier import Classifier
from .evaluate import Scores
from .models import TimmClassifier


def score_samples(scores: Scores, classes: Sequence[str]) -> dict[str, list[Any]]:
    """Outcome of every image, and accuracy of every class with the class it was most often mistaken for.

    Args:
        scores: The outcome.
        classes: Name of each output.
    """
    by_class = scores.classes()
    return {
        "names": list(scores.names),
        "labels": list(scores.targets),
        "predicted": [one.predicted for one in scores.scored],
        "in_top5": [int(one.in_best) for one in scores.scored],
        "loss": [round(one.loss, 6) for one in scores.scored],
        "logits_sha256": [one.digest for one in scores.scored],
        "class": [classes[target] for target in by_class],
        "class_label": list(by_class),
        "class_images": [images for _, images, _ in by_class.values()],
        "class_top1": [round(100 * right / images, 4) for right, images, _ in by_class.values()],
        "class_mistaken_for": [None if other is None else classes[other] for _, _, other in by_class.values()],
    }


def model_facts(model: nn.Module) -> dict[str, float]:
    """Width before the head, parameters of the whole classifier and, if it is one of LinBench's, of its backbone."""
    total = sum(p.numel() for p in model.parameters())
    if isinstance(model, Classifier):
        own = sum(p.numel() for p in model.backbone.parameters())
        return {"dim": model.backbone.pooled_channels, "params_backbone": own, "params_total": total}
    assert isinstance(model, TimmClassifier)  # the suite builds no others
    return {"dim": model.width, "params_total": total}
