"""Where ImageNet lies below a data root, in folders or in shards, and opening its splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from .imagenet import ImageNetFolder, LabelledImages, class_folders
from .imagenet_shards import ImageNetShards
from .masks import shortened

FOLDERS = ("imagenet", "ImageNet", "imagenet-1k", "ImageNet-1k", "imagenet1k", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
LAYOUT = "train/<class>/*, val/<class>/*, or shards *train*.tar, *val*.tar"
SPLITS = ("train", "val")
IMAGES = 1_331_167
TREE = f"imagenet/{{{LAYOUT}}} ({IMAGES} images)"
TITLE = "ImageNet"

_WORDNET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class ImageNet:
    """A data set in ImageNet's layout.

    Attributes:
        root: The folder that holds its splits.
        sharded: Whether they are tar files in WebDataset's layout.
    """

    root: Path
    sharded: bool = False

    def has(self, split: str) -> bool:
        """Whether the split `train` or `val` is there."""
        return bool(self._shards(split)) if self.sharded else (self.root / split).is_dir()

    def open(self, split: str) -> LabelledImages:
        """Open the split `train` or `val`; the classes are those of the training split where there is one.

        Raises:
            DataError: It is missing, empty or inconsistent, it has classes that the training split lacks, or it is not
                clear which split a shard is of.
        """
        name = f"{TITLE} {split}"
        if not self.has(split):
            raise DataError(f"{name} is not in {self.root}; expected {TREE}")
        if self.sharded:
            unclear = [path for path, said in self._said() if len(said) > 1]
            if unclear:
                raise DataError(
                    f"{shortened([str(path) for path in unclear])}: train or val? A shard's name and folder must say "
                    "one of the two; rename or move it"
                )
            known = (
                len(ImageNetShards(name, self._shards("train")).classes)
                if split != "train" and self.has("train")
                else None
            )
            return ImageNetShards(name, self._shards(split), classes=known)
        base = self.root / ("train" if self.has("train") else split)
        return ImageNetFolder(name, self.root / split, classes=class_folders(base, f"{TITLE} {base.name}"))

    def _shards(self, split: str) -> list[Path]:
        return [path for path, said in self._said() if said == {split}]

    def _said(self) -> list[tuple[Path, set[str]]]:
        """Each tar file with the splits that its name says, and its folder below the root."""
        found = [(path, "") for path in self.root.glob("*.tar")]
        found += [(path, split) for split in SPLITS for path in (self.root / split).glob("*.tar")]
        return [
            (path, {split for split in SPLITS if split in path.name.lower() or split == folder})
            for path, folder in found
        ]


def find_imagenet(root: Path | str) -> ImageNet:
    """The data set in ImageNet's layout that is `root`, or lies in it or one folder further down.

    Raises:
        DataError: There is none; the message shows the expected tree.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"data folder {root} does not exist; expected {TREE} in it")
    for folder in _candidates(root):
        for sharded in (False, True):
            found = ImageNet(folder, sharded)
            if (found.has("val") or found.has("train")) and (sharded or _has_classes(found)):
                return found
    raise DataError(f"{TITLE} not found under {root}; expected {TREE}. Run `bench data check imagenet`")


def check_classes(train: LabelledImages, val: LabelledImages) -> None:
    """Hold two splits against each other.

    Raises:
        DataError: A class has images in one of them only.
    """
    for one, other in ((train, val), (val, train)):
        lacking = [one.classes[place] for place in sorted({*one.labels.tolist()} - {*other.labels.tolist()})]
        if lacking:
            raise DataError(
                f"{other.name} has no image of {len(lacking)} classes that {one.name} has: {shortened(lacking)}; "
                "both splits must have the same classes"
            )


def _candidates(root: Path) -> Iterator[Path]:
    yield root
    yield from (root / name for name in FOLDERS if (root / name).is_dir())
    yield from (path for path in sorted(root.iterdir()) if path.is_dir() and _holds_wordnet(path / "val"))


def _holds_wordnet(folder: Path) -> bool:
    return folder.is_dir() and any(_WORDNET.fullmatch(path.name) for path in folder.iterdir())


def _has_classes(found: ImageNet) -> bool:
    """Whether a split of folders is no split of shards, or of something else with the same name."""
    folders = [found.root / split for split in SPLITS if found.has(split)]
    return any(path.is_dir() or path.suffix != ".tar" for folder in folders for path in folder.iterdir())
