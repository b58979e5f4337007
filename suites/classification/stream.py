"""Training batches: seeded, mixed over the whole step, the same for every number of processes and workers."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.data.mixup import Mixup, mixup_target
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import DataError, UsageError
from ..data.imagenet import LabelledImages
from ..data.masks import shortened
from ..data.order import EpochOrder
from ..data.workers import end_with_parent
from ..failures import first_line
from ..training.recipes import Optimisation
from .preprocess import Preprocessing, TrainTransform, drawn_by
from .recipes import ClassificationRecipe

ORDER, SAMPLE, MIX = range(3)
"""What random numbers are for, so that no two purposes share them."""

_ATTEMPTS = 20


@dataclass
class ClassStream:
    """See `training.engine.Batches`.

    A batch holds `images` `[B, 3, S, S]`, `targets` `[B, classes]` (soft: smoothed and mixed) and `samples` `[B]`, each
    image's place in the stream of epochs. An image is drawn by the seed, its epoch and its number; how a step is mixed
    depends on the seed and the step; so neither a resumed training nor one in several processes sees anything else.

    Attributes:
        images: Training images.
        recipe: How they are drawn and mixed.
        stage: Steps and images of a step.
        preprocessing: Normalisation and interpolation.
        seed: Seed of all that.
        max_bad: Unreadable images that are tolerated in a process; others take their places.
        workers: Processes that draw batches ahead; 0 draws in this one.
        pin: Put batches where a GPU fetches them fastest.
        bad: What was wrong with the unreadable images met so far, by name.
    """

    images: LabelledImages
    recipe: ClassificationRecipe
    stage: Optimisation
    preprocessing: Preprocessing
    seed: int = 0
    max_bad: int = 0
    workers: int = 0
    pin: bool = False
    bad: dict[str, str] = field(default_factory=dict)

    def __call__(self, step: int, rank: int, world_size: int) -> Iterator[dict[str, Tensor]]:
        """The batches of a process from a step on.

        Raises:
            UsageError: The processes cannot share a step's pairs of images equally.
            DataError: More than `max_bad` images could not be read.
        """
        loader: Any = DataLoader(
            ClassBatches(self, rank, world_size),
            batch_size=None,
            sampler=range(step, self.stage.steps),
            num_workers=self.workers,
            pin_memory=self.pin,
            generator=torch.Generator(),  # of its own, so that it draws no number from the training's
            multiprocessing_context=_context() if self.workers else None,
            worker_init_fn=_start_worker if self.workers else None,
        )
        return self._checked(iter(loader))  # workers start now, not at the first batch

    def names(self, samples: Sequence[int]) -> list[str]:
        """Names of the images at places of the stream."""
        order = EpochOrder(self.seed, len(self.images))
        return [self.images.items[order[sample]] for sample in samples]

    def _checked(self, batches: Iterator[Any]) -> Iterator[dict[str, Tensor]]:
        for batch, bad in batches:
            self.bad |= bad
            if len(self.bad) > self.max_bad or not batch:
                raise DataError(
                    f"{self.images.name}: {len(self.bad)} images could not be used, {self.max_bad} are tolerated: "
                    f"{shortened(list(self.bad.values()))}; mend them, or tolerate them with --max-bad"
                )
            yield batch


class ClassBatches(Dataset[tuple[dict[str, Tensor], dict[str, str]]]):
    """The batches of one process by step, each with what was wrong with the images that others replaced.

    Args:
        stream: What they are made of.
        rank: This process among `world_size`.
        world_size: Number of processes.

    Raises:
        UsageError: The processes cannot share a step equally.
    """

    def __init__(self, stream: ClassStream, rank: int, world_size: int) -> None:
        self.stream = stream
        self.rank, self.world_size = rank, world_size
        self.share = stage_share(stream.recipe, stream.stage, world_size)
        self._order = EpochOrder(stream.seed, len(stream.images))
        self._transform = TrainTransform(stream.recipe, stream.preprocessing)
        self._labels = torch.from_numpy(stream.images.labels)
        mixing = stream.recipe.mixing
        self._classes = len(stream.images.classes)
        self._mixup: Any = None
        if mixing.on:
            self._mixup = Mixup(
                mixup_alpha=mixing.mixup,
                cutmix_alpha=mixing.cutmix,
                prob=mixing.probability,
                switch_prob=mixing.switch,
                mode="batch",
                label_smoothing=stream.recipe.label_smoothing,
                num_classes=self._classes,
            )

    def __len__(self) -> int:
        return self.stream.stage.steps

    def __getitem__(self, step: int) -> tuple[dict[str, Tensor], dict[str, str]]:
        places = self.places(step)
        bad: dict[str, str] = {}
        drawn = [found for place in places if (found := self._draw(place, bad)) is not None]
        if len(drawn) < len(places):
            return {}, bad  # told in the main process, where an error keeps its one line
        images = torch.stack([image for image, _ in drawn])
        labels = self._labels[[item for _, item in drawn]]
        if self._mixup is None:
            smoothing = self.stream.recipe.label_smoothing
            targets = mixup_target(labels, self._classes, lam=1.0, smoothing=smoothing)
        else:
            with drawn_by(self.stream.seed, MIX, step):
                images, targets = self._mixup(images, labels)
        return {"images": images, "targets": targets, "samples": torch.tensor(places)}, bad

    def places(self, step: int) -> list[int]:
        """This process's places of a step.

        Mixing takes the first with the last, the second with the last but one, and so on over the whole step, so a
        process gets places from the front and those that mirror them.
        """
        count = self.stream.stage.images
        start = step * count
        if count % (2 * self.world_size):
            return list(range(start + self.rank * self.share, start + (self.rank + 1) * self.share))
        half = self.share // 2
        front = list(range(self.rank * half, (self.rank + 1) * half))
        return [start + place for place in (*front, *(count - 1 - place for place in reversed(front)))]

    def _draw(self, place: int, bad: dict[str, str]) -> tuple[Tensor, int] | None:
        """The image for a place and its number; another one where it is unreadable, None where many are."""
        images, seed = self.stream.images, self.stream.seed
        item = self._order[place]
        for attempt in range(_ATTEMPTS):
            try:
                return self._transform(images.image(item), seed, SAMPLE, place // len(images), item), item
            except DataError as error:
                bad[images.items[item]] = str(error)
            except (ArithmeticError, OSError, RuntimeError, ValueError) as error:
                bad[images.items[item]] = f"{images.items[item]}: cannot be augmented ({first_line(error)})"
            item = self._order[place + attempt + 1]
        return None


def stage_share(recipe: ClassificationRecipe, stage: Optimisation, processes: int) -> int:
    """Images of a step that each of so many processes takes.

    Raises:
        UsageError: They cannot be shared equally, or not in the pairs that mixing needs.
    """
    share = stage.share(processes)
    if recipe.mixing.on and share % 2:
        raise UsageError(
            f"{stage.images} images a step give each of {processes} processes {share}, which mixing cannot pair; "
            "change --set train.images=... or the number of processes"
        )
    return share


def _context() -> Any:
    """Workers start from a clean process: a fork of this one would inherit its threads' locks."""
    if sys.platform == "win32" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start_worker(_: int) -> None:
    end_with_parent()
    torch.set_num_threads(1)
