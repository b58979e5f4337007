"""Training batches of a distillation: framed images, and the teacher's embeddings where they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...heads.sam.preprocess import Preprocessing
from ..data.batches import TrainBatch
from ..data.masks import shortened
from ..data.order import EpochOrder
from ..data.parallel import in_order
from .cache import EmbeddingCache
from .images import DistillImages, check_bad

_ATTEMPTS = 20


class TeacherBatch(TrainBatch, total=False):
    """A batch without masks.

    `embedding` `[B, C, h, w]`: the teacher's, where they are kept; else `teacher_images` `[B, 3, S, S]` where the
    teacher wants other means or deviations than the student.
    """

    embedding: Tensor
    teacher_images: Tensor


class DistillStream:
    """Batches by step; a batch depends on the seed and the step alone.

    Both systems see the teacher's geometry and resampling, each with its own normalisation.

    Args:
        images: The images; every epoch shows each once.
        student: How the student wants its images.
        teacher: How the teacher wants its.
        frame: Side of the square input in pixels.
        batch_size: Images a step and process.
        seed: Seed of the order.
        cache: The teacher's embeddings, or None to leave them to the training.
        rank: This process among `world_size`.
        world_size: Number of processes.
        max_bad: Unreadable images that are tolerated; others take their places.

    Attributes:
        bad: Unreadable images met so far, and why.
    """

    def __init__(
        self,
        images: DistillImages,
        student: Preprocessing,
        teacher: Preprocessing,
        *,
        frame: int,
        batch_size: int,
        seed: int = 0,
        cache: EmbeddingCache | None = None,
        rank: int = 0,
        world_size: int = 1,
        max_bad: int = 0,
    ) -> None:
        self.images = images
        self.teacher = teacher
        self.student = Preprocessing(teacher.geometry, teacher.resampling, student.mean, student.std)
        self.frame = frame
        self.batch_size = batch_size
        self.seed = seed
        self.cache = cache
        self.rank = rank
        self.world_size = world_size
        self.max_bad = max_bad
        self.bad: dict[int, str] = {}
        left_out = set(cache.bad) if cache is not None else set()
        self._usable = [index for index in range(len(images)) if index not in left_out]
        if not self._usable:
            raise DataError("none of the images could be read")
        self._order = EpochOrder(seed, len(self._usable))

    def batches(self, start: int, steps: int, *, workers: int = 2) -> Iterator[TeacherBatch]:
        """The batches of steps `start` to `steps`, made ahead by threads."""
        with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
            yield from in_order(self.batch, range(start, steps), pool, ahead=workers)

    def batch(self, step: int) -> TeacherBatch:
        """The batch of one step.

        Raises:
            DataError: More than `max_bad` images are unreadable, or a shard of the embeddings is damaged.
        """
        samples = [self._sample(step, slot) for slot in range(self.batch_size)]
        frame = self.frame
        batch = TeacherBatch(
            images=torch.stack([framed for _, framed, _ in samples]),
            masks=torch.zeros(0, frame, frame, dtype=torch.uint8),
            boxes=torch.zeros(0, 4),
            image_index=torch.zeros(0, dtype=torch.int64),
        )
        if self.cache is not None:
            batch["embedding"] = torch.stack([self.cache.row(index) for index, _, _ in samples])
        elif self.student != self.teacher:
            batch["teacher_images"] = torch.stack([other for _, _, other in samples])
        return batch

    def _sample(self, step: int, slot: int) -> tuple[int, Tensor, Tensor]:
        position = (step * self.world_size + self.rank) * self.batch_size + slot
        index = self._usable[self._order[position]]
        rng = np.random.default_rng([self.seed, 1, position])
        for _ in range(_ATTEMPTS):
            if index not in self.bad:
                try:
                    pixels = self.images.image(index)
                except DataError as error:
                    self.bad[index] = str(error)
                    check_bad(self.bad, self.max_bad)
                else:
                    framed = self.student.frame(pixels, size=self.frame)[0]
                    same = self.cache is not None or self.student == self.teacher
                    return index, framed, framed if same else self.teacher.frame(pixels, size=self.frame)[0]
            index = self._usable[int(rng.integers(len(self._usable)))]
        raise DataError(f"{_ATTEMPTS} images in a row cannot be read: {shortened(list(self.bad.values()))}")
