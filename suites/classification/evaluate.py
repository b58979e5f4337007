"""Scores of a classifier: top-1, top-5, loss and a digest of the logits for every image."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import DataError, LinBenchError
from ..data.imagenet import LabelledImages, Labels
from ..data.masks import shortened
from ..data.parallel import in_order
from ..training.shards import gathered, my_share
from .preprocess import EvalTransform, Preprocessing

BEST = 5


class Scored(NamedTuple):
    """One image's outcome.

    Attributes:
        predicted: Output with the largest logit.
        in_best: Whether the true one is among the five largest.
        loss: Cross-entropy.
        digest: SHA-256 of the logits, as float32 in little-endian bytes.
    """

    predicted: int
    in_best: bool
    loss: float
    digest: str


@dataclass
class Scores:
    """Scores of one split, a value per image.

    Attributes:
        names: Name of each image.
        targets: Its class, as an output of the classifier.
        scored: Its outcome.
        bad: One line for each image that could not be read.
        seconds: Time spent in the network, of this process.
    """

    names: list[str] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def summary(self) -> dict[str, float]:
        """`top1` and `top5` in percent, `class_top1` (mean over classes), `loss` and `images`."""
        right = [one.predicted == target for one, target in zip(self.scored, self.targets, strict=True)]
        shares = [hits / count for hits, count, _ in self.classes().values()]
        return {
            "top1": 100 * float(np.mean(right)),
            "top5": 100 * float(np.mean([one.in_best for one in self.scored])),
            "class_top1": 100 * float(np.mean(shares)),
            "loss": float(np.mean([one.loss for one in self.scored])),
            "images": len(self.scored),
        }

    def classes(self) -> dict[int, tuple[int, int, int | None]]:
        """By class: images that were right, images in all, and the class it was most often mistaken for."""
        found: dict[int, Counter[int]] = {}
        for one, target in zip(self.scored, self.targets, strict=True):
            found.setdefault(target, Counter())[one.predicted] += 1
        return {
            target: (
                counts[target],
                counts.total(),
                next((other for other, _ in counts.most_common() if other != target), None),
            )
            for target, counts in sorted(found.items())
        }

    def digest(self) -> str:
        """SHA-256 over the digests of all images, in order."""
        return hashlib.sha256("".join(one.digest for one in self.scored).encode()).hexdigest()


def evaluate(
    model: nn.Module,
    images: LabelledImages,
    targets: Labels,
    *,
    preprocessing: Preprocessing,
    device: str | torch.device = "cpu",
    batch: int = 32,
    workers: int = 0,
    limit: int | None = None,
    chosen: Sequence[int] | None = None,
    max_bad: int = 0,
    on_image: Callable[[int, int], None] | None = None,
) -> Scores:
    """Classify images. With several processes each takes its share of the batches, and all get all scores.

    Args:
        model: Logits `[B, outputs]` of images `[B, 3, S, S]`; in evaluation mode while this runs.
        images: The split.
        targets: Class of each image, as an output of the model.
        preprocessing: Size, crop and normalisation.
        device: Torch device of the model.
        batch: Images computed together; an unreadable one leaves a gap, so that the others' neighbours stay theirs.
        workers: Threads that read images; the scores do not depend on it.
        limit: Only the first images.
        chosen: Only these images, in place of `limit`.
        max_bad: Unreadable images tolerated; they are left out.
        on_image: Called with images done and images of this process.

    Raises:
        DataError: More than `max_bad` images could not be read, or none could.
        LinBenchError: Logits are not finite.
    """
    places = list(range(len(images)) if chosen is None else chosen)[:limit]
    transform = EvalTransform(preprocessing)
    mine = my_share(len(places), batch=batch)
    found: dict[int, Scored | str] = {}
    seconds = 0.0

    def prepare(number: int) -> tuple[int, Tensor | str]:
        try:
            return number, transform(images.image(places[number]))
        except DataError as error:
            return number, str(error)

    training = model.training
    model.eval()
    with ThreadPoolExecutor(workers, thread_name_prefix="evaluate") if workers else nullcontext() as pool:
        for group in _batches(in_order(prepare, mine, pool, ahead=2 * batch), batch):
            found |= {number: result for number, result in group if isinstance(result, str)}
            read = [(number, result) for number, result in group if not isinstance(result, str)]
            if read:
                started = time.perf_counter()
                labels = torch.from_numpy(targets[[places[number] for number, _ in read]])
                outcome = _scored(model, torch.stack([image for _, image in read]).to(device), labels)
                seconds += time.perf_counter() - started
                found |= dict(zip((number for number, _ in read), outcome, strict=True))
            if on_image is not None:
                on_image(len(found), len(mine))
    model.train(training)
    scores = Scores(seconds=seconds)
    for number, result in gathered(found, len(places)).items():
        if isinstance(result, str):
            scores.bad.append(result)
            continue
        scores.names.append(images.items[places[number]])
        scores.targets.append(int(targets[places[number]]))
        scores.scored.append(result)
    if len(scores.bad) > max_bad or not scores.scored:
        raise DataError(
            f"{images.name}: {len(scores.bad)} of {len(places)} images could not be used: {shortened(scores.bad)}; "
            f"mend them, or tolerate them with --max-bad {len(scores.bad)}"
        )
    return scores


@torch.inference_mode()
def _scored(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[Scored]:
    logits = model(inputs).float().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise LinBenchError("the classifier's logits are not finite; check the weights, or use --kernels reference")
    best = logits.topk(min(BEST, logits.shape[1])).indices
    losses = F.cross_entropy(logits, labels, reduction="none")
    return [
        Scored(int(row.argmax()), bool((top == label).any()), float(loss), _digest(row))
        for row, top, label, loss in zip(logits, best, labels, losses, strict=True)
    ]


def _digest(logits: Tensor) -> str:
    values: Any = logits.numpy().astype("<f4")
    return hashlib.sha256(values.tobytes()).hexdigest()


def _batches(items: Iterable[tuple[int, Tensor | str]], size: int) -> Iterator[list[tuple[int, Tensor | str]]]:
    """Items by the batch of the whole split that their number falls in."""
    group: list[tuple[int, Tensor | str]] = []
    for item in items:
        if group and item[0] // size != group[0][0] // size:
            yield group
            group = []
        group.append(item)
    if group:
        yield group
