"""Training batches of a semantic set: each sample depends on the seed and its place in the stream alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, UsageError
from .decode import Pixels
from .masks import shortened
from .order import EpochOrder
from .parallel import in_order
from .semseg import SemanticDataset
from .semseg_augment import SemanticAugment, SemanticSample, augment


class SemanticBatch(TypedDict):
    """`images` `[B, 3, S, S]` float32 normalised; `classes` `[B, S, S]` uint8, 255 where nothing counts.

    `samples` `[B]` int64 is each image's place in the stream of epochs.
    """

    images: Tensor
    classes: Tensor
    samples: Tensor


class SemanticBatches:
    """This process's share of every step, step after step; iterating makes some ahead in threads.

    Each epoch shows every image once, in a random order. The samples of a step are the same however many processes
    share it, and from whichever step the stream starts.

    Args:
        dataset: Training set.
        options: Augmentation.
        images: Images in a step, of all processes together.
        steps: Steps to give, counted from step 0.
        seed: Seed of order and augmentation.
        start_step: First step, for a resumed training.
        rank: This process among `world_size`.
        world_size: Number of processes.
        workers: Threads.
        cache_mib: Memory for decoded images.
        max_bad: Images whose pixels turn out to be unreadable that are tolerated; others take their places.

    Attributes:
        bad: What was wrong with the unreadable images met so far, by index.

    Raises:
        UsageError: The processes cannot share a step equally.
    """

    def __init__(
        self,
        dataset: SemanticDataset,
        options: SemanticAugment,
        *,
        images: int,
        steps: int,
        seed: int = 0,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 1,
        cache_mib: int = 1024,
        max_bad: int = 0,
    ) -> None:
        if images % world_size:
            raise UsageError(f"{images} images a step cannot be shared by {world_size} processes; choose a multiple")
        self.dataset = dataset
        self.options = options
        self.images = images
        self.steps = steps
        self.seed = seed
        self.start_step = start_step
        self.share = range(rank * (images // world_size), (rank + 1) * (images // world_size))
        self.workers = workers
        self.max_bad = max_bad
        self.bad: dict[int, str] = {}
        self._budget = cache_mib * 2**20
        self._cache: dict[int, tuple[Pixels, Pixels]] = {}
        self._order = EpochOrder(seed, len(dataset))

    def __iter__(self) -> Iterator[SemanticBatch]:
        with ThreadPoolExecutor(self.workers, thread_name_prefix="batches") as pool:
            yield from in_order(self.batch, range(self.start_step, self.steps), pool)

    def batch(self, step: int) -> SemanticBatch:
        """This process's part of one step.

        Raises:
            DataError: More files are unreadable than are tolerated.
        """
        places = [step * self.images + slot for slot in self.share]
        samples = [self._sample(place) for place in places]
        return SemanticBatch(
            images=torch.from_numpy(np.stack([sample.image for sample in samples])),
            classes=torch.from_numpy(np.stack([sample.classes for sample in samples])),
            samples=torch.tensor(places),
        )

    def _sample(self, position: int) -> SemanticSample:
        rng = np.random.default_rng([self.seed, 1, position])
        index = self._order[position]
        while (loaded := self._readable(index)) is None:
            index = int(rng.integers(len(self.dataset)))
        return augment(rng, *loaded, self.options)

    def _readable(self, index: int) -> tuple[Pixels, Pixels] | None:
        if index in self.bad:
            return None
        try:
            return self._load(index)
        except DataError as error:
            self.bad[index] = str(error)
            if len(self.bad) > self.max_bad or len(self.bad) == len(self.dataset):
                raise DataError(
                    f"{self.dataset.name}: {len(self.bad)} training images could not be used, {self.max_bad} are "
                    f"tolerated (--max-bad): {shortened(list(self.bad.values()))}"
                ) from error
            return None

    def _load(self, index: int) -> tuple[Pixels, Pixels]:
        found = self._cache.get(index)
        if found is None:
            found = self.dataset.image(index), self.dataset.classes(index)
            size = found[0].nbytes + found[1].nbytes
            if size <= self._budget:
                self._budget -= size
                self._cache[index] = found
        return found
