"""Training of one segmenter by the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backbones.weights import file_sha256
from ...heads.upernet import Segmenter
from ..data.class_names import written
from ..data.order import EpochOrder
from ..data.semseg import SemanticDataset
from ..data.semseg_augment import SemanticAugment
from ..data.semseg_batches import SemanticBatch, SemanticBatches
from ..sam_hq.rows import curve_samples
from ..training.accelerators import open_accelerator, progress_bar
from ..training.checkpoint import WEIGHTS, Checkpointer, save_tensors
from ..training.engine import Curve, Probe, train_stage
from ..training.precision import resolve_precision
from ..training.processes import is_main
from ..training.shards import wait_for_all
from .network import SegmentationStep
from .options import Ade20kOptions
from .recipes import SegmentationRecipe

STAGE = "train"


@dataclass(frozen=True)
class Trained:
    """What training left behind besides the trained segmenter itself.

    Attributes:
        curve: Learning curve.
        precision: `bf16` or `fp32`.
        folder: Weights, and the checkpoints of the training.
        bad: Images that turned out to be unreadable on the way.
    """

    curve: Curve
    precision: str
    folder: Path
    bad: tuple[str, ...]

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.folder / WEIGHTS

    def metrics(self) -> dict[str, float]:
        """Seconds of training and the share of it spent waiting for data."""
        return {"train_seconds": self.curve.seconds, "data_wait_percent": self.curve.data_wait_percent}

    def samples(self) -> dict[str, list[Any]]:
        """The learning curve."""
        return curve_samples({STAGE: self.curve})

    def facts(self, options: Ade20kOptions) -> dict[str, Any]:
        """How it was trained."""
        found = {
            "recipe": options.recipe.to_dict(),
            "precision": self.precision,
            "steps": self.curve.steps,
            "trained_weights_sha256": file_sha256(self.weights),
        }
        return {**found, "bad_in_training": list(self.bad)} if self.bad else found

    def clear(self) -> None:
        """Remove the checkpoints; weights and log stay."""
        Checkpointer(self.folder / STAGE).clear()


def augmentation(recipe: SegmentationRecipe) -> SemanticAugment:
    """How the recipe draws its samples."""
    return SemanticAugment(
        scale=recipe.scale,
        ratio=recipe.ratio,
        crop=recipe.crop,
        largest_class=recipe.largest_class,
        flip=recipe.flip,
        distort=recipe.distort,
    )


class _Stream:
    """See `training.engine.Batches`; it names the samples of a loss that is not finite."""

    def __init__(self, dataset: SemanticDataset, options: Ade20kOptions) -> None:
        self.dataset, self.options = dataset, options
        self.begun: list[SemanticBatches] = []

    def __call__(self, step: int, rank: int, processes: int) -> Iterator[SemanticBatch]:
        options, recipe = self.options, self.options.recipe
        batches = SemanticBatches(
            self.dataset,
            augmentation(recipe),
            images=recipe.train.images,
            steps=recipe.train.steps,
            seed=options.seed,
            start_step=step,
            rank=rank,
            world_size=processes,
            workers=options.workers,
            max_bad=options.max_bad,
        )
        self.begun.append(batches)
        return iter(batches)

    def names(self, samples: Sequence[int]) -> list[str]:
        """Names of the images at places of the stream."""
        order = EpochOrder(self.options.seed, len(self.dataset))
        return [self.dataset.items[order[sample]] for sample in samples]

    def bad(self) -> tuple[str, ...]:
        """What was wrong with images that turned out to be unreadable."""
        return tuple(line for batches in self.begun for line in batches.bad.values())


def train_segmenter(
    segmenter: Segmenter, dataset: SemanticDataset, options: Ade20kOptions, *, folder: Path, probe: Probe
) -> Trained:
    """Train in place, from the last checkpoint where there is one, and save the weights.

    Args:
        segmenter: On its device.
        dataset: Usable training items.
        options: Recipe, seed, device, threads.
        folder: Checkpoints and weights.
        probe: Scores for the learning curve.

    Raises:
        DataError: Too many images are unreadable.
        LinBenchError: The loss is not finite.
        StoreError: A checkpoint cannot be written.
    """
    recipe = options.recipe
    precision = resolve_precision(recipe.precision, next(segmenter.parameters()).device)
    accelerator = open_accelerator(precision, options.device)
    batches = _Stream(dataset, options)
    module = SegmentationStep(segmenter, auxiliary=recipe.auxiliary, head_lr_scale=recipe.head_lr_scale)
    with progress_bar(accelerator) as progress:
        curve = train_stage(
            STAGE,
            module,
            batches,
            recipe.train,
            accelerator=accelerator,
            folder=folder / STAGE,
            seed=options.seed,
            progress=progress,
            probe=probe,
            engine=options.engine,
        )
    trained = Trained(curve, precision, folder, batches.bad())
    if is_main():
        facts = {"recipe": recipe.name, **written(dataset.table.names)}
        save_tensors(trained.weights, segmenter.state_dict(), facts)
    wait_for_all()
    return trained
