"""Semantic segmentation sets in ADE20K's and CamVid's layouts: images, and annotations of class ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError
from .decode import Pixels, read_class_ids, read_image, upright_size
from .masks import MaskDataset, Pair, match_folders, unmatched_masks
from .semseg_classes import ADE20K_CLASSES, IGNORED, ClassTable, read_classes

CLASSES_FILE = "classes.tsv"
ADE20K = "ADE20K"
ADE20K_FOLDERS = ("ADEChallengeData2016", "ADE20K_2016", "ADE20K", "ade20k")
_Splits = Mapping[str, tuple[tuple[str, str], ...]]

_ADE_SPLITS: _Splits = {
    "train": (("images/training", "annotations/training"),),
    "evaluation": (("images/validation", "annotations/validation"),),
}
_CAMVID_SPLITS: _Splits = {
    "train": (("train", "trainannot"),),
    "evaluation": (("test", "testannot"), ("val", "valannot")),
}
LAYOUTS = (
    "images/{training,validation}/*.jpg with annotations/{training,validation}/*.png, or "
    "{train,test}/*.png with {trainannot,testannot}/*.png"
)


class SemanticDataset(MaskDataset):
    """Images with a class for each pixel; as a `MaskDataset`, its masks are the classes that an image shows.

    Args:
        name: For tables and messages.
        pairs: Image and annotation of each item.
        table: The classes.
        lonely: One line for each image without an annotation and each annotation without an image.
    """

    threshold = 127

    def __init__(self, name: str, pairs: Sequence[Pair], table: ClassTable, *, lonely: Sequence[str] = ()) -> None:
        self.name = name
        self.table = table
        self.pairs = tuple(pairs)
        self.items = tuple(pair.image.stem for pair in self.pairs)
        self.lonely = tuple(lonely)

    def image(self, index: int) -> Pixels:
        return read_image(self.pairs[index].image)

    def classes(self, index: int) -> Pixels:
        """Class number of each pixel, `[H, W]` uint8, 255 where it does not count; the size is the image's.

        Raises:
            DataError: A file is missing or unreadable, sizes differ, the annotation has several channels or a value
                that is no class.
        """
        pair = self.pairs[index]
        values = read_class_ids(pair.mask)
        height, width = upright_size(pair.image)
        if values.shape != (height, width):
            raise DataError(
                f"{pair.mask}: annotation of {values.shape[1]}x{values.shape[0]} for an image of {width}x{height}"
            )
        try:
            return self.table.numbers(values)
        except DataError as error:
            raise DataError(f"{pair.mask}: {error}") from error

    def labels(self, index: int) -> Pixels:
        numbers = self.classes(index)
        shown = [number for number in np.unique(numbers) if number != IGNORED]
        return np.stack([(numbers == number).astype(np.uint8) * 255 for number in shown] or [np.zeros_like(numbers)])

    def files(self, index: int) -> tuple[Path, ...]:
        return tuple(self.pairs[index])

    def problems(self) -> list[str]:
        return list(self.lonely)

    def only(self, indices: Iterable[int]) -> SemanticDataset:
        """The set with these items, and without the files that match nothing."""
        return SemanticDataset(self.name, [self.pairs[index] for index in indices], self.table)


@dataclass(frozen=True)
class SemanticSplits:
    """A set's two sides.

    Attributes:
        name: ADE20K, or the folder's name.
        evaluation: What is scored.
        train: What is trained on; None where the folder has no such part.
        table: The classes of both.
    """

    name: str
    evaluation: SemanticDataset
    train: SemanticDataset | None
    table: ClassTable


def open_semantic(root: Path, *, classes: Path | None = None, name: str | None = None) -> SemanticSplits:
    """Open a folder in ADE20K's layout (validation is scored) or CamVid's (test is scored; val where there is no test).

    In ADE20K's layout the value 0 stands for no class unless the table says otherwise.

    Args:
        root: The folder with `images/` and `annotations/`, or with `test/` and `testannot/`.
        classes: Class table; by default `classes.tsv` in the folder, or ADE20K's own where the folder is ADE20K.
        name: For tables; by default the folder's name, or ADE20K.

    Raises:
        DataError: No such layout, nothing to score, no class table, or nothing matches.
    """
    splits = _layout(root)
    if splits is None:
        raise DataError(f"{root} holds no semantic segmentation set; expected {LAYOUTS}")
    ade20k = root.absolute().name in ADE20K_FOLDERS
    name = name or (ADE20K if ade20k else root.resolve().name)
    table = _table(root, classes, ade20k=ade20k)
    if splits is _ADE_SPLITS:
        table = table.ignoring_zero()
    sides = {side: _open_side(name, root, splits[side], table) for side in splits}
    evaluation = sides["evaluation"]
    if evaluation is None:
        raise DataError(f"{name}: {root} has nothing to score; expected {LAYOUTS}")
    return SemanticSplits(name, evaluation, sides["train"], table)


def open_whole(root: Path, name: str) -> SemanticDataset:
    """Both sides of a set as one, to be checked; arguments and errors as for `open_semantic`."""
    found = open_semantic(root, name=name)
    sides = [side for side in (found.train, found.evaluation) if side is not None]
    lonely = [line for side in sides for line in side.lonely]
    lonely += [] if found.train is not None else [f"{name}: {root} has no training images"]
    return SemanticDataset(name, [pair for side in sides for pair in side.pairs], found.table, lonely=lonely)


def holds_semantic(root: Path) -> bool:
    """Whether a folder is in one of the layouts itself."""
    return _layout(root) is not None


def _layout(root: Path) -> _Splits | None:
    for splits in (_ADE_SPLITS, _CAMVID_SPLITS):
        parts = [part for side in splits.values() for part in side]
        if any((root / images).is_dir() and (root / labels).is_dir() for images, labels in parts):
            return splits
    return None


def _table(root: Path, classes: Path | None, *, ade20k: bool) -> ClassTable:
    if classes is not None:
        return read_classes(classes)
    if (root / CLASSES_FILE).is_file():
        return read_classes(root / CLASSES_FILE)
    if ade20k:
        return read_classes(ADE20K_CLASSES)
    raise DataError(
        f"{root} has no class table; put {CLASSES_FILE} there, with the columns id and name separated by a tab, "
        "or give one with --classes FILE"
    )


def _open_side(name: str, root: Path, parts: Sequence[tuple[str, str]], table: ClassTable) -> SemanticDataset | None:
    found = next(((root / i, root / a) for i, a in parts if (root / i).is_dir() and (root / a).is_dir()), None)
    if found is None:
        return None
    images, annotations = found
    pairs, alone = match_folders(name, images, annotations)
    lonely = [f"{images / image}: no annotation in {annotations}" for image in alone]
    lonely += [f"{path}: no image in {images}" for path in unmatched_masks(pairs, annotations)]
    if not pairs:
        raise DataError(f"{name}: no image in {images} has an annotation in {annotations}")
    return SemanticDataset(name, pairs, table, lonely=lonely)
