"""Which images a run trains and evaluates on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, UsageError
from ..data.augment import AugmentOptions
from ..data.coco import CocoInstances
from ..data.coco_boxes import BoxPrompts, detector_boxes, truth_boxes
from ..data.datasets import dataset_spec, find_dataset, open_coco
from ..data.demo.build import build_demo, demo_root
from ..data.demo.coco import COCO_DETECTIONS
from ..data.masks import FolderMasks, MaskDataset, open_folder
from ..data.mixes import get_mix, open_mix
from .options import COCO, TRUE_BOXES, SamHqOptions

SPLIT_SEED = 0


@dataclass(frozen=True)
class Sets:
    """The data of a run.

    Attributes:
        kind: `demo`, `real` (registered sets) or `folders` (the user's own).
        evaluation: Sets whose masks are scored one by one.
        coco: COCO and its box prompts, scored by AP; None where it is not evaluated.
        train: Sets that are trained on; empty where nothing is trained.
        repeats: How often an epoch shows each training set.
        augment: How samples of each training set are drawn; None where the recipe says it for all.
        split: How evaluation and training images were told apart, in words.
    """

    kind: str
    evaluation: tuple[MaskDataset, ...]
    train: tuple[MaskDataset, ...]
    repeats: tuple[int, ...]
    split: str
    coco: tuple[CocoInstances, BoxPrompts] | None = None
    augment: tuple[AugmentOptions, ...] | None = None

    @property
    def names(self) -> list[str]:
        """Names of all sets that are scored."""
        return [dataset.name for dataset in self.evaluation] + ([self.coco[0].name] if self.coco else [])

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each evaluation set by name."""
        scored = [*self.evaluation, *([self.coco[0]] if self.coco else [])]
        return {dataset.name: dataset.fingerprint() for dataset in scored}

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
    for name in options.evaluation_sets:
        dataset_spec(name)  # a wrong name is told before anything is drawn
    training = options.weights is None
    if options.masks:
        return _folders(options, training)
    if options.data is not None:
        evaluation, coco = _evaluation(options, options.data, options.boxes)
        if not training:
            return Sets("real", evaluation, (), (), "official sets", coco)
        if options.recipe.mix:
            mix = open_mix(get_mix(options.recipe.mix), options.data)
            return Sets("real", evaluation, mix.datasets, mix.repeats, "official sets", coco, mix.options)
        train, repeats = _training_sets_found(options.data)
        return Sets("real", evaluation, train, repeats, "official sets", coco)
    root = build_demo(demo_root(cache=options.cache), progress=drawing)
    evaluation, coco = _evaluation(options, root, options.boxes or str(root / COCO_DETECTIONS))
    train = (find_dataset("coconut", root), find_dataset("dis-tr", root)) if training else ()
    return Sets("demo", evaluation, train, (1,) * len(train), "drawn apart", coco)


def _evaluation(
    options: SamHqOptions, root: Path, boxes: str | None
) -> tuple[tuple[MaskDataset, ...], tuple[CocoInstances, BoxPrompts] | None]:
    masks = tuple(find_dataset(name, root) for name in options.evaluation_sets if name != COCO)
    if COCO not in options.evaluation_sets:
        return masks, None
    dataset = open_coco(root)
    if boxes is None:
        raise UsageError(
            "COCO needs box prompts: give --boxes FILE, a detector's results JSON (ViTDet-H's as in the paper), "
            f"or --boxes {TRUE_BOXES} for the annotated boxes"
        )
    if boxes == TRUE_BOXES:
        return masks, (dataset, truth_boxes(dataset))
    top, ids = options.boxes_per_image, options.box_categories
    return masks, (dataset, detector_boxes(dataset, boxes, top=top, category_ids=ids))


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


def _training_sets_found(root: Path) -> tuple[tuple[MaskDataset, ...], tuple[int, ...]]:
    """Those of RWKV-SAM's training sets that are below the root, shown as often as its mix shows them."""
    found: list[tuple[MaskDataset, int]] = []
    problems = []
    for one in get_mix("rwkvsam").sets:
        try:
            found.append((find_dataset(one.name, root), one.repeats))
        except DataError as error:
            problems.append(str(error))
    if not found:
        raise DataError(f"no training set under {root}: {problems[0]}; or give --weights to evaluate only")
    return tuple(dataset for dataset, _ in found), tuple(repeats for _, repeats in found)
