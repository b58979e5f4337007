"""Training batches: a seeded stream that does not depend on the number of workers and can start at any step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ...errors import DataError, UsageError
from .augment import AugmentOptions, Bytes, TrainSample, transform
from .masks import MaskDataset, shortened
from .order import EpochOrder
from .parallel import in_order

_ATTEMPTS = 20


class Framed(TypedDict):
    """What every batch has; see `TrainBatch`."""

    images: Tensor
    masks: Tensor
    boxes: Tensor
    image_index: Tensor


class TrainBatch(Framed, total=False):
    """One batch.

    `images` `[B, 3, S, S]` float32 normalised; `masks` `[N, S, S]` uint8; `boxes` `[N, 4]` float32 in frame pixels
    (x0 y0 x1 y1, last pixel inclusive); `image_index` `[N]` int64, the image each mask belongs to. Of `TrainBatches`
    too: `samples` `[B]` int64, the place of each image in the stream.
    """

    samples: Tensor


class TrainBatches(IterableDataset[TrainBatch]):
    """Batches of augmented samples, step after step.

    Each epoch shows every image of every set `repeats` times, in a random order. A sample depends on the seed and its
    place in the stream alone, so several processes train on what one with the batches of all would. Iterate it
    directly, through `prefetch`, or through a `DataLoader` with `batch_size=None`, whose workers take turns at steps;
    start those with `multiprocessing_context="spawn"`, because OpenCV's threads do not survive a fork.

    Args:
        datasets: Training sets.
        frame: Side of the square input frame in pixels.
        batch_size: Images a step and process.
        steps: Steps to give, counted from step 0.
        seed: Seed of order and augmentation.
        repeats: How often an epoch shows each set (default once).
        options: Augmentation, of all sets or of each.
        start_step: First step, for a resumed training.
        rank: This process among `world_size`; each process gets other images of the same epoch.
        world_size: Number of processes.
        cache_mib: Memory for decoded images, in each worker; 0 decodes every time.
        max_bad: Unreadable images that are tolerated, in each worker; others take their places.

    Attributes:
        bad: What was wrong with the unreadable images met so far, by set and index.

    Raises:
        UsageError: An argument that cannot be meant.
    """

    def __init__(
        self,
        datasets: Sequence[MaskDataset],
        *,
        frame: int,
        batch_size: int,
        steps: int,
        seed: int = 0,
        repeats: Sequence[int] | None = None,
        options: AugmentOptions | Sequence[AugmentOptions] | None = None,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache_mib: int = 2048,
        max_bad: int = 0,
    ) -> None:
        super().__init__()
        repeats = tuple(repeats) if repeats is not None else (1,) * len(datasets)
        if not datasets or len(repeats) != len(datasets) or min(repeats) < 0 or not sum(map(len, datasets)):
            raise UsageError(
                f"{len(datasets)} training sets with repeats {list(repeats)}; expected one repeat for each set"
            )
        if frame < 16 or batch_size < 1 or not 0 <= start_step <= steps or not 0 <= rank < world_size:
            raise UsageError(
                f"frame {frame}, batch {batch_size}, steps {start_step}..{steps}, rank {rank}/{world_size} cannot be"
            )
        self.datasets = tuple(datasets)
        self.frame = frame
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.options = _one_each(options or AugmentOptions(), len(datasets))
        self.start_step = start_step
        self.rank = rank
        self.world_size = world_size
        self._budget = cache_mib * 2**20
        self._cache: dict[tuple[int, int], tuple[Bytes, Bytes]] = {}
        self.max_bad = max_bad
        self.bad: dict[tuple[int, int], str] = {}
        self._items = [
            (which, index)
            for which, (dataset, times) in enumerate(zip(self.datasets, repeats, strict=True))
            for index in range(len(dataset))
            for _ in range(times)
        ]
        if not self._items:
            raise UsageError("all training sets have repeat 0")
        self._order = EpochOrder(seed, len(self._items))

    def __len__(self) -> int:
        return self.steps - self.start_step

    def __iter__(self) -> Iterator[TrainBatch]:
        worker = get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self.start_step + offset, self.steps, stride):
            yield self.batch(step)

    def batch(self, step: int) -> TrainBatch:
        """The batch of one step.

        Raises:
            DataError: A file is unreadable, or no object is found in many images.
        """
        first = (step * self.world_size + self.rank) * self.batch_size
        places = range(first, first + self.batch_size)
        samples = [self._sample(place)[1] for place in places]
        counts = torch.tensor([len(sample.masks) for sample in samples])
        return TrainBatch(
            images=torch.from_numpy(np.stack([sample.image for sample in samples])),
            masks=torch.from_numpy(np.concatenate([sample.masks for sample in samples])),
            boxes=torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
            image_index=torch.repeat_interleave(torch.arange(self.batch_size), counts),
            samples=torch.tensor(places),
        )

    def names(self, samples: Sequence[int]) -> list[str]:
        """Set and name of the images at places of the stream; reads them again to know which took another's place."""
        items = [self._sample(place)[0] for place in samples]
        return [f"{self.datasets[which].name}/{self.datasets[which].items[index]}" for which, index in items]

    def _sample(self, position: int) -> tuple[tuple[int, int], TrainSample]:
        rng = np.random.default_rng([self.seed, 1, position])
        item = self._items[self._order[position]]
        for _ in range(_ATTEMPTS):
            loaded = self._readable(item)
            sample = transform(rng, *loaded, self.frame, self.options[item[0]]) if loaded else None
            if sample is not None:
                return item, sample
            # A crop may miss every object, and an image may have none: another crop, of another image.
            item = self._items[int(rng.integers(len(self._items)))]
        names = ", ".join(dataset.name for dataset in self.datasets)
        least = min(options.min_area for options in self.options)
        raise DataError(f"no mask of {least} pixels in {_ATTEMPTS} crops of {names}; check masks and scale")

    def _readable(self, item: tuple[int, int]) -> tuple[Bytes, Bytes] | None:
        if item in self.bad:
            return None
        try:
            return self._load(*item)
        except DataError as error:
            if self.max_bad == 0:
                raise
            self.bad[item] = str(error)
            if len(self.bad) > self.max_bad:
                raise DataError(
                    f"{len(self.bad)} training images could not be used, {self.max_bad} are tolerated: "
                    f"{shortened(list(self.bad.values()))}"
                ) from error
            return None

    def _load(self, which: int, index: int) -> tuple[Bytes, Bytes]:
        found = self._cache.get((which, index))
        if found is None:
            dataset = self.datasets[which]
            found = self._shrunk(dataset.image(index), dataset.layers(index), which, index)
            size = found[0].nbytes + found[1].nbytes
            if size <= self._budget:
                self._budget -= size
                self._cache[which, index] = found
        return found

    def _shrunk(self, image: Bytes, layers: Bytes, which: int, index: int) -> tuple[Bytes, Bytes]:
        """Sources larger than the largest resize will ever ask for are shrunk once, cached or not."""
        dataset = self.datasets[which]
        if image.shape[:2] != layers.shape[1:]:
            raise DataError(
                f"{dataset.name}: {dataset.items[index]} has masks of {layers.shape[1:]} for {image.shape[:2]}"
            )
        height, width = image.shape[:2]
        side = math.ceil(self.frame * max(1.0, self.options[which].scale[1]))
        if max(height, width) <= side:
            return image, layers
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = [cv2.resize(layer, size, interpolation=cv2.INTER_NEAREST_EXACT) for layer in layers]
        packed = np.stack(small) if small else np.zeros((0, size[1], size[0]), np.uint8)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), packed


def prefetch(batches: TrainBatches, *, workers: int = 2, ahead: int = 4) -> Iterator[TrainBatch]:
    """The batches in order, up to `ahead` of them made by `workers` threads while the caller computes.

    Threads share the cache of decoded images, and decoding and resizing leave the interpreter free.

    Raises:
        DataError: As `TrainBatches.batch`, at the step that failed.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        yield from in_order(batches.batch, range(batches.start_step, batches.steps), pool, ahead=ahead)


def _one_each(options: AugmentOptions | Sequence[AugmentOptions], sets: int) -> tuple[AugmentOptions, ...]:
    if isinstance(options, AugmentOptions):
        return (options,) * sets
    if len(options) != sets:
        raise UsageError(f"{len(options)} augmentations for {sets} training sets; expected one for all or one for each")
    return tuple(options)
