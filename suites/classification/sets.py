"""Which images a run trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ...errors import DataError
from ..data.demo.imagenet import build_imagenet_demo
from ..data.imagenet import IMAGENET_CLASSES, LabelledImages, imagenet_order
from ..data.imagenet_layout import ImageNet, check_classes, find_imagenet
from ..data.imagenet_shards import ImageNetShards
from ..data.masks import shortened
from .options import ClassificationOptions

IMAGENET_IMAGES = 50_000
READ_BEFORE = 2_000
"""Training sets of at most so many images are read whole before the training starts: seconds."""


@dataclass(frozen=True)
class Splits:
    """The data of a run.

    Attributes:
        kind: `demo`, `real` (ImageNet-1k's whole validation set) or `folders` (any other classes or images).
        val: Images that are scored.
        train: Images that are trained on; None where nothing is trained.
    """

    kind: str
    val: LabelledImages
    train: LabelledImages | None

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the evaluated split by name."""
        return {self.val.name: self.val.fingerprint()}

    def train_fingerprints(self) -> dict[str, str]:
        """Fingerprint of the training split by name."""
        return {} if self.train is None else {self.train.name: self.train.fingerprint()}


def open_splits(options: ClassificationOptions, *, drawing: Callable[[int, int], None] | None = None) -> Splits:
    """Open the data that `options` ask for; draws the demo data where they are needed and not there yet.

    Args:
        options: The run's options.
        drawing: Called with (images drawn, images in all) while demo data are drawn.

    Raises:
        DataError: A split is missing or incomplete, or training and evaluation have other classes.
    """
    if options.data is None:
        found = ImageNet(build_imagenet_demo(cache=options.cache, progress=drawing))
    else:
        found = find_imagenet(options.data)
    val = found.open("val")
    kind = "demo" if options.data is None else _kind(val)
    if options.weights is not None:
        return Splits(kind, val, None)
    train = found.open("train")
    check_classes(train, val)
    if len(train.classes) < 2:
        raise DataError(f"{train.name} has one class, {train.classes[0]}; a classifier needs 2 or more to tell apart")
    return Splits(kind, val, train)


def read_whole(images: LabelledImages, *, max_bad: int, workers: int) -> None:
    """Read every image of a small set, so that what is unreadable is told before anything is trained.

    Raises:
        DataError: More than `max_bad` images cannot be read.
    """
    if len(images) > READ_BEFORE:
        return
    with ThreadPoolExecutor(max(1, workers)) as pool:
        bad = [line for line in pool.map(lambda index: _unreadable(images, index), range(len(images))) if line]
    if len(bad) > max_bad:
        raise DataError(
            f"{images.name}: {len(bad)} of {len(images)} images could not be used: {shortened(bad)}; mend them, or "
            f"tolerate them with --max-bad {len(bad)}"
        )


def _unreadable(images: LabelledImages, index: int) -> str:
    try:
        images.image(index)
    except DataError as error:
        return str(error)
    return ""


def _kind(val: LabelledImages) -> str:
    order = isinstance(val, ImageNetShards) or imagenet_order(val.classes) is not None
    whole = len(val) == IMAGENET_IMAGES and len(val.classes) == IMAGENET_CLASSES
    return "real" if order and whole else "folders"
