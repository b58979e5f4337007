"""Training batches of a stage, as the training loop asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..data.augment import AugmentOptions
from ..data.batches import TrainBatch, TrainBatches, prefetch
from ..training.recipes import Optimisation
from .options import SamHqOptions
from .sets import Sets

CACHE_MIB = 1024


class MaskStream:
    """See `training.engine.Batches`.

    Args:
        sets: Where images and masks come from.
        stage: Steps and images of a step.
        options: Recipe and seed.
        augmented: Draw samples as the recipe says; else images are only scaled to the frame.
    """

    def __init__(self, sets: Sets, stage: Optimisation, options: SamHqOptions, *, augmented: bool) -> None:
        self.sets = sets
        self.stage = stage
        self.options = options
        recipe = options.recipe
        drawn = AugmentOptions(
            flip=recipe.augmentation.flip,
            scale=recipe.augmentation.resize,
            colour=recipe.augmentation.colour,
            max_instances=recipe.instances,
            min_area=recipe.augmentation.min_area,
        )
        plain = AugmentOptions(flip=0.0, scale=(1.0, 1.0), colour=0.0, max_instances=recipe.instances, min_area=1)
        self.augment = (sets.augment or drawn) if augmented else plain

    def __call__(self, step: int, rank: int, world_size: int) -> Iterator[TrainBatch]:
        """The batches of a process from a step on."""
        return prefetch(self._batches(step, rank, world_size), workers=1)

    def names(self, samples: Sequence[int]) -> list[str]:
        """Set and name of the images at places of the stream."""
        return self._batches(0, 0, 1).names(samples)

    def _batches(self, step: int, rank: int, world_size: int) -> TrainBatches:
        return TrainBatches(
            self.sets.train,
            frame=self.options.recipe.frame,
            batch_size=self.stage.share(world_size),
            steps=self.stage.steps,
            seed=self.options.seed,
            repeats=self.sets.repeats,
            options=self.augment,
            max_bad=self.options.max_bad,
            start_step=step,
            rank=rank,
            world_size=world_size,
            cache_mib=CACHE_MIB,
        )
