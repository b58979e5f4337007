"""The network's part of an evaluation: prepared images in, masks at their original size out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ...heads.sam import MaskChoice, System, choose_masks
from ...heads.sam.choice import needs_multimask
from ...heads.sam.hq_decoder import hq_mask_alone
from ...heads.sam.system import Embedding
from ..data.masks import Bools
from ..data.protocols import Protocol, Sample

PROMPTS = 16  # decoded at a time: their logits at the frame's size are 4 MiB each
PIXELS = 2**26  # restored at a time: fewer prompts where the image is large

Item = TypeVar("Item")
Kept = TypeVar("Kept")


class Network:
    """A system that answers box prompts, by one protocol.

    Args:
        system: In evaluation mode.
        protocol: How logits come back to the original image, and which mask HQ-SAM's decoder answers with.
        device: Torch device of the system.
        batch: Images encoded together.
        choice: Which of SAM's masks is kept; `oracle` needs samples with a truth for each box.

    Attributes:
        seconds: Time spent in here so far.
    """

    def __init__(
        self, system: System, protocol: Protocol, *, device: str, batch: int = 1, choice: MaskChoice = "single"
    ) -> None:
        self.system = system
        self.protocol = protocol
        self.device = device
        self.batch = batch
        self.choice: MaskChoice = choice
        self.seconds = 0.0

    def predict(
        self, items: Iterable[Item], sample_of: Callable[[Item], Sample], keep: Callable[[Bools], Sequence[Kept]]
    ) -> Iterator[tuple[Item, list[Kept]]]:
        """Each item with what is kept of the mask of each of its sample's boxes, in order.

        Args:
            items: Drawn a batch at a time.
            sample_of: The sample in an item; its boxes without `has_box` get empty masks.
            keep: Called with a few masks `[n, H, W]` at a time; what it makes of each is kept.
        """
        waiting: list[Item] = []
        for item in items:
            waiting.append(item)
            if len(waiting) == self.batch:
                yield from self._flush(waiting, sample_of, keep)
                waiting = []
        if waiting:
            yield from self._flush(waiting, sample_of, keep)

    @torch.inference_mode()
    def _flush(
        self, items: list[Item], sample_of: Callable[[Item], Sample], keep: Callable[[Bools], Sequence[Kept]]
    ) -> list[tuple[Item, list[Kept]]]:
        samples = [sample_of(item) for item in items]
        started = time.perf_counter()
        prompted = any(sample.has_box.any() for sample in samples)
        images = torch.stack([sample.image for sample in samples]).to(self.device)
        embedding = self.system.encode(images) if prompted else None
        self.seconds += time.perf_counter() - started
        return [
            (item, list(self._masks(embedding, index, sample, keep)))
            for index, (item, sample) in enumerate(zip(items, samples, strict=True))
        ]

    def _masks(
        self, embedding: Embedding | None, index: int, sample: Sample, keep: Callable[[Bools], Sequence[Kept]]
    ) -> Iterator[Kept]:
        height, width = sample.geometry.original
        step = max(1, min(PROMPTS, PIXELS // (height * width)))
        for start in range(0, len(sample.has_box), step):
            asked = sample.has_box[start : start + step]
            masks = np.zeros((len(asked), height, width), dtype=bool)
            started = time.perf_counter()
            if embedding is not None and asked.any():
                masks[asked] = self._answers(embedding, index, sample, start + np.flatnonzero(asked))
            self.seconds += time.perf_counter() - started
            yield from keep(masks)

    def _answers(self, embedding: Embedding, index: int, sample: Sample, boxes: npt.NDArray[np.int64]) -> Bools:
        with hq_mask_alone(self.system.mask_decoder, self.protocol.hq_token_only):
            logits, quality = self.system.decode(
                embedding,
                boxes=sample.boxes[boxes].to(self.device),
                image_index=torch.full((len(boxes),), index, device=self.device),
                multimask=needs_multimask(self.choice),
            )
        if self.choice != "oracle":
            logits, _ = choose_masks(logits, quality, choice=self.choice)
            return self.protocol.restore(logits, sample.geometry)
        # The truth is at the original size, so that is where the best is chosen.
        restored = sample.geometry.to_original(logits)
        best, _ = choose_masks(restored, quality, choice="oracle", truth=torch.from_numpy(sample.truth[boxes]))
        return np.asarray((best[:, 0] > 0).cpu().numpy())


class BoxFiller:
    """The baseline in a network's place: the filled box itself is the mask."""

    seconds = 0.0

    def predict(
        self, items: Iterable[Item], sample_of: Callable[[Item], Sample], keep: Callable[[Bools], Sequence[Kept]]
    ) -> Iterator[tuple[Item, list[Kept]]]:
        """Each item with what is kept of the filled tight boxes of its sample's truth."""
        for item in items:
            sample = sample_of(item)
            masks = np.zeros(sample.truth.shape, dtype=bool)
            for mask, truth in zip(masks, sample.truth, strict=True):
                if truth.any():
                    x0, y0, x1, y1 = (int(v) for v in tight_box(truth))
                    mask[y0 : y1 + 1, x0 : x1 + 1] = True
            yield item, list(keep(masks))


def tight_box(mask: np.ndarray[Any, Any]) -> tuple[float, float, float, float]:
    """`x0, y0, x1, y1` of a mask `[H, W]`, the last pixel inclusive; zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])
