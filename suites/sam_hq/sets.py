"""Which images a run trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import DataError
from ..data.datasets import find_dataset
from ..data.demo.build import build_demo, demo_root
from ..data.masks import FolderMasks, MaskDataset, open_folder
from .options import SamHqOptions

SPLIT_SEED = 0
DIS_REPEATS = 40  # rwkvsam's recipe shows DIS5K-TR 40 times an epoch, COCONut-B once


@dataclass(frozen=True)
class Sets:
    """The data of a run.

    Attributes:
        kind: `demo`, `real` (registered sets) or `folders` (the user's own).
        evaluation: Sets that are scored.
        train: Sets that are trained on; empty where nothing is trained.
        repeats: How often an epoch shows each training set.
        split: How evaluation and training images were told apart, in words.
    """

    kind: str
    evaluation: tuple[MaskDataset, ...]
    train: tuple[MaskDataset, ...]
    repeats: tuple[int, ...]
    split: str

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each evaluation set by name."""
        return {dataset.name: dataset.fingerprint() for dataset in self.evaluation}

    def train_fingerprints(self) -> dict[str, str]:
        """Fingerprint of each training set by name."""
        return {dataset.name: dataset.fingerprint() for dataset in self.train}


def choose_sets(options: SamHqOptions, *, drawing: Callable[[int, int], None] | None = None) -> Sets:
    """Open the data that `options` ask for; draws the demo data where they are needed and not there yet.

    Args:
        options: The run's options.
        drawing: Called with (images drawn, images in all) while demo data are drawn.

    Raises:
        UsageError: Unknown data set.
        DataError: A set is missing, incomplete or unreadable.
    """
    training = options.weights is None
    if options.masks:
        return _folders(options, training)
    if options.data is not None:
        evaluation = tuple(find_dataset(name, options.data) for name in options.datasets)
        train, repeats = _real_training(options) if training else ((), ())
        return Sets("real", evaluation, train, repeats, "official sets")
    root = build_demo(demo_root(cache=options.cache), progress=drawing)
    evaluation = tuple(find_dataset(name, root) for name in options.datasets)
    train = (find_dataset("coconut", root), find_dataset("dis-tr", root)) if training else ()
    return Sets("demo", evaluation, train, (1,) * len(train), "drawn apart")


def _folders(options: SamHqOptions, training: bool) -> Sets:
    folders = [open_folder(name, path) for name, path in options.masks]
    if not training:
        return Sets("folders", tuple(folders), (), (), "all images")
    if options.train_masks:
        train = [open_folder(name, path) for name, path in options.train_masks]
        return Sets("folders", tuple(folders), tuple(train), (1,) * len(train), "separate training folders")
    halves: list[tuple[FolderMasks, FolderMasks]] = [
        folder.split(fraction=options.held_out, seed=SPLIT_SEED) for folder in folders
    ]
    split = f"{options.held_out:.0%} of each folder held out by file name, seed {SPLIT_SEED}"
    return Sets("folders", tuple(e for _, e in halves), tuple(t for t, _ in halves), (1,) * len(halves), split)


def _real_training(options: SamHqOptions) -> tuple[tuple[MaskDataset, ...], tuple[int, ...]]:
    found: list[tuple[MaskDataset, int]] = []
    problems = []
    for name, repeats in (("coconut", 1), ("dis-tr", DIS_REPEATS)):
        try:
            found.append((find_dataset(name, options.data), repeats))
        except DataError as error:
            problems.append(str(error))
    if not found:
        raise DataError(f"no training set under {options.data}: {problems[0]}; or give --weights to evaluate only")
    return tuple(dataset for dataset, _ in found), tuple(repeats for _, repeats in found)
