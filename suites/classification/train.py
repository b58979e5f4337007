"""Train a classifier by a recipe."""

from __future__ import annotations

from pathlib import Path

import torch
from timm.loss.cross_entropy import SoftTargetCrossEntropy
from torch import Tensor, nn

from ..training.accelerators import open_accelerator, progress_bar
from ..training.engine import Curve, Probe, train_stage
from ..training.options import EngineOptions
from ..training.precision import resolve_precision
from .stream import ClassStream

STAGE = "train"


class ClassifyStep(nn.Module):
    """Cross-entropy of a classifier's logits to soft targets.

    Args:
        classifier: All of it is trained.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self._loss = SoftTargetCrossEntropy()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss by name, of `images` `[B, 3, S, S]` and `targets` `[B, classes]`."""
        return {"loss": self._loss(self.classifier(batch["images"]).float(), batch["targets"])}


def train_classifier(
    classifier: nn.Module,
    stream: ClassStream,
    *,
    folder: Path,
    seed: int,
    device: str,
    engine: EngineOptions,
    probe: Probe | None = None,
    quiet: bool = False,
) -> tuple[Curve, str]:
    """Train `classifier` in place; resumes where an earlier run was cut off.

    Args:
        classifier: Logits of images.
        stream: Training batches, with their recipe.
        folder: Checkpoints and log.
        seed: Random numbers of stochastic depth.
        device: `cpu`, `cuda` or `cuda:<n>`.
        engine: How the loop is run.
        probe: Scores for the learning curve.
        quiet: Show no progress bar.

    Returns:
        The learning curve, and the precision: `bf16` or `fp32`.

    Raises:
        UsageError: The processes cannot share a step's images.
        DataError: Too many images could not be read.
        LinBenchError: The loss is not finite.
        StoreError: A checkpoint cannot be written.
    """
    precision = resolve_precision(stream.recipe.precision, torch.device(device))
    accelerator = open_accelerator(precision, device)
    classifier.to(accelerator.device)
    with progress_bar(accelerator, quiet=quiet) as progress:
        curve = train_stage(
            STAGE,
            ClassifyStep(classifier),
            stream,
            stream.stage,
            accelerator=accelerator,
            folder=folder / STAGE,
            seed=seed,
            progress=progress,
            probe=probe,
            engine=engine,
        )
    classifier.eval()
    return curve, precision
