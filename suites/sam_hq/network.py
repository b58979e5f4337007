"""The network's part of an evaluation: prepared images in, masks at their original size out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from ...heads.sam import System
from ..data.masks import Bools
from ..data.protocols import Protocol, Sample

PROMPTS = 16  # decoded at a time: their logits at the frame's size are 4 MiB each

Item = TypeVar("Item")


class Network:
    """A system that answers box prompts, by one protocol.

    Args:
        system: In evaluation mode.
        protocol: How logits come back to the original image.
        device: Torch device of the system.
        batch: Images encoded together.

    Attributes:
        seconds: Time spent in here so far.
    """

    def __init__(self, system: System, protocol: Protocol, *, device: str, batch: int = 1) -> None:
        self.system = system
        self.protocol = protocol
        self.device = device
        self.batch = batch
        self.seconds = 0.0

    def predict(self, items: Iterable[Item], sample_of: Callable[[Item], Sample]) -> Iterator[tuple[Item, Bools]]:
        """Each item with the masks `[n, H, W]` of its sample's boxes, in order.

        Args:
            items: Drawn a batch at a time.
            sample_of: The sample in an item; its boxes without `has_box` get empty masks.
        """
        waiting: list[Item] = []
        for item in items:
            waiting.append(item)
            if len(waiting) == self.batch:
                yield from self._flush(waiting, sample_of)
                waiting = []
        if waiting:
            yield from self._flush(waiting, sample_of)

    def _flush(self, items: list[Item], sample_of: Callable[[Item], Sample]) -> Iterator[tuple[Item, Bools]]:
        samples = [sample_of(item) for item in items]
        started = time.perf_counter()
        masks = self._masks(samples)
        self.seconds += time.perf_counter() - started
        yield from zip(items, masks, strict=True)

    @torch.inference_mode()
    def _masks(self, samples: list[Sample]) -> list[Bools]:
        masks = [np.zeros((len(sample.has_box), *sample.geometry.original), dtype=bool) for sample in samples]
        prompted = [np.flatnonzero(sample.has_box) for sample in samples]
        if not any(len(found) for found in prompted):
            return masks
        embedding = self.system.encode(torch.stack([sample.image for sample in samples]).to(self.device))
        for index, (sample, found) in enumerate(zip(samples, prompted, strict=True)):
            for part in np.split(found, range(PROMPTS, len(found), PROMPTS)):
                if not len(part):
                    continue
                logits, _ = self.system.decode(
                    embedding,
                    boxes=sample.boxes[torch.from_numpy(part)].to(self.device),
                    image_index=torch.full((len(part),), index, device=self.device),
                )
                masks[index][part] = self.protocol.restore(logits, sample.geometry)
        return masks


class BoxFiller:
    """The baseline in a network's place: the filled box itself is the mask."""

    seconds = 0.0

    def predict(self, items: Iterable[Item], sample_of: Callable[[Item], Sample]) -> Iterator[tuple[Item, Bools]]:
        """Each item with the filled tight boxes of its sample's truth."""
        for item in items:
            sample = sample_of(item)
            masks = np.zeros(sample.truth.shape, dtype=bool)
            for mask, truth in zip(masks, sample.truth, strict=True):
                if truth.any():
                    x0, y0, x1, y1 = (int(v) for v in tight_box(truth))
                    mask[y0 : y1 + 1, x0 : x1 + 1] = True
            yield item, masks


def tight_box(mask: np.ndarray[Any, Any]) -> tuple[float, float, float, float]:
    """`x0, y0, x1, y1` of a mask `[H, W]`, the last pixel inclusive; zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])
