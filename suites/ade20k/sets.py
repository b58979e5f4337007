"""Which images a run trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..data.datasets import locate
from ..data.demo.ade20k import FOLDER, build_ade20k_demo
from ..data.semseg import ADE20K, LAYOUTS, SemanticSplits, holds_semantic, open_semantic
from ..data.semseg_checks import CheckedSet, check_semantic
from ..training.processes import is_main
from ..training.shards import wait_for_all
from .options import Ade20kOptions

Say = Callable[[str], None]

ADE20K_IMAGES = 2_000
ADE20K_CLASS_COUNT = 150
READ_BEFORE = 2_000
"""Training images of at most so many are decoded before the training starts, not only their headers read: seconds."""


@dataclass(frozen=True)
class Sets:
    """The data of a run.

    Attributes:
        kind: `demo`, `real` (ADE20K's whole validation set) or `folders` (any other classes or images).
        splits: What is scored and what is trained on.
    """

    kind: str
    splits: SemanticSplits

    def train_fingerprints(self) -> dict[str, str]:
        """Fingerprint of the training set by name."""
        train = self.splits.train
        return {} if train is None else {train.name: train.fingerprint()}


@dataclass(frozen=True)
class CheckedSets:
    """The usable part of a run's data; no training set where nothing is trained."""

    evaluation: CheckedSet
    train: CheckedSet | None


def choose_sets(options: Ade20kOptions, say: Say) -> Sets:
    """Open the data that `options` ask for; draws the demo data where they are needed and not there yet.

    Raises:
        DataError: A folder, a class table or the training images are missing, or nothing matches.
    """
    if options.data is None:
        root = _demo(options, say) / FOLDER
        return Sets("demo", open_semantic(root))
    if holds_semantic(options.data):
        splits = open_semantic(options.data, classes=options.classes)
    else:
        splits = open_semantic(_located(options.data), classes=options.classes, name=ADE20K)
    if options.weights is None and splits.train is None:
        raise DataError(
            f"{splits.name} has no training images under {options.data}; expected {LAYOUTS}. Add them, "
            "or evaluate only: --weights FILE"
        )
    return Sets(_kind(splits), splits)


def check_sets(sets: Sets, options: Ade20kOptions, say: Say) -> CheckedSets:
    """Read every annotation that will be used, and the images that are scored or few.

    Raises:
        DataError: More items than `options.max_bad` cannot be used.
    """

    def counted(what: str) -> Callable[[int, int], None]:
        return lambda done, total: say(f"checking {what} {done}/{total}")

    train = None
    if options.weights is None and sets.splits.train is not None:
        train = check_semantic(
            sets.splits.train,
            max_bad=options.max_bad,
            images=len(sets.splits.train) <= READ_BEFORE,
            workers=options.workers,
            progress=counted("training annotations"),
        )
    evaluation = check_semantic(
        sets.splits.evaluation,
        limit=options.limit,
        max_bad=options.max_bad,
        images=True,
        workers=options.workers,
        progress=counted("images"),
    )
    return CheckedSets(evaluation, train)


def _kind(splits: SemanticSplits) -> str:
    whole = (len(splits.evaluation), len(splits.table)) == (ADE20K_IMAGES, ADE20K_CLASS_COUNT)
    return "real" if splits.name == ADE20K and whole else "folders"


def _demo(options: Ade20kOptions, say: Say) -> Path:
    def draw() -> Path:
        return build_ade20k_demo(
            cache=options.cache, progress=lambda done, total: say(f"drawing demo data {done}/{total}")
        )

    if is_main():
        draw()
    wait_for_all()
    return draw()


def _located(root: Path) -> Path:
    try:
        return locate("ade20k", root)[0]
    except DataError as error:
        raise DataError(f"{error}; or give a folder with {LAYOUTS}") from error
