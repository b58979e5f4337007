"""Images with one label each: the interface, and ImageNet's folders `train/<class>/` and `val/<class>/`."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from .decode import IMAGE_SUFFIXES, Pixels, file_hash, read_image
from .masks import shortened

Labels = npt.NDArray[np.int64]

SPLITS = ("train", "val")
IMAGENET_CLASSES = 1000
_HASHED_SAMPLE = 16
_MOST_STRETCHED = 200


class LabelledImages(ABC):
    """Images with one class each.

    Attributes:
        name: For tables and messages.
        items: Name of each image.
        labels: Class of each image, `[n]`, an index into `classes`.
        classes: Names of the classes.
        upright: Whether images are turned by their EXIF tag. Those of ImageNet's classes are not: published
            evaluations take the pixels as they are stored, and one photograph in 250 carries a tag.
    """

    name: str
    items: Sequence[str]
    labels: Labels
    classes: tuple[str, ...]
    upright: bool = True

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """RGB, `[H, W, 3]` uint8; see `upright`.

        Raises:
            DataError: It cannot be read, or is so narrow that nothing is left of it at a usual size.
        """

    @abstractmethod
    def fingerprint(self, *, full: bool = False) -> str:
        """16 hex digits over names, labels and sizes, and the content of 16 images (`full`: of all).

        Raises:
            DataError: A file is missing.
        """

    def targets(self, outputs: int) -> Labels:
        """The output of a classifier with so many outputs that stands for each image's class, `[n]`.

        Classes that carry WordNet ids of ImageNet-1k have the places they have there under a head with 1,000 outputs,
        however many of them are here; otherwise the classes are counted in the order of their names.

        Raises:
            DataError: The head does not fit the classes.
        """
        if outputs == len(self.classes):
            return self.labels
        order = imagenet_order(self.classes) if outputs == IMAGENET_CLASSES else None
        if order is None:
            raise DataError(
                f"{self.name}: {len(self.classes)} classes ({shortened(self.classes[:3])}, ...) for a head with "
                f"{outputs} outputs; use weights that were trained on these classes, or the data of these weights"
            )
        return np.asarray(order[self.labels])

    def output_names(self, outputs: int) -> Sequence[str]:
        """The class that each output of a classifier stands for, as far as `targets` fits it to these classes."""
        if outputs == len(self.classes):
            return self.classes
        return list(_imagenet_places()) if outputs == IMAGENET_CLASSES else [str(place) for place in range(outputs)]


class ImageNetFolder(LabelledImages):
    """One split in ImageNet's layout: a folder for each class, images in it.

    Args:
        name: For tables and messages.
        root: The split's folder.
        classes: Class folders in the order of the labels; by default all of them by name.

    Raises:
        DataError: The folder is missing, has no class folder, a class folder is empty, or one is not among `classes`.
    """

    def __init__(self, name: str, root: Path | str, *, classes: Sequence[str] | None = None) -> None:
        self.name, self.root = name, Path(root)
        found = class_folders(self.root, name)
        self.classes = tuple(found if classes is None else classes)
        unknown = sorted(set(found) - set(self.classes))
        if unknown:
            raise DataError(f"{name}: {self.root} has classes that the training set lacks: {shortened(unknown)}")
        items: list[str] = []
        labels: list[int] = []
        for place, folder in enumerate(self.classes):
            here = _images_in(self.root, folder) if folder in found else []
            items += here
            labels += [place] * len(here)
        empty = [folder for folder in found if folder not in {item.partition("/")[0] for item in items}]
        if empty:
            raise DataError(
                f"{name}: no image ({', '.join(IMAGE_SUFFIXES)}) in {len(empty)} of {len(found)} class folders of "
                f"{self.root}: {shortened(empty)}; fill or remove them"
            )
        self.items = tuple(items)
        self.labels = np.array(labels, np.int64)
        self.upright = imagenet_order(self.classes) is None

    def image(self, index: int) -> Pixels:
        path = self.root / self.items[index]
        return not_too_narrow(read_image(path, upright=self.upright), self.items[index])

    def fingerprint(self, *, full: bool = False) -> str:
        digest = hashlib.sha256(self.name.encode())
        hashed = fingerprinted(len(self), full)
        for index, (item, label) in enumerate(zip(self.items, self.labels.tolist(), strict=True)):
            path = self.root / item
            try:
                content = file_hash(path) if index in hashed else ""
                digest.update(f"\n{item}\t{label}\t{path.stat().st_size}\t{content}".encode())
            except OSError as error:
                raise DataError(f"{self.name}: {path} cannot be read ({error.strerror})") from error
        return digest.hexdigest()[:16]


def fingerprinted(count: int, full: bool) -> set[int]:
    """The items whose content a fingerprint covers."""
    return set(range(count)) if full else {i * (count - 1) // (_HASHED_SAMPLE - 1) for i in range(_HASHED_SAMPLE)}


def not_too_narrow(image: Pixels, item: str) -> Pixels:
    """The image, unless its short side at 256 pixels made the long one fill the memory.

    Raises:
        DataError: It is more than 200 times as long as wide.
    """
    height, width = image.shape[:2]
    if max(height, width) > _MOST_STRETCHED * min(height, width):
        raise DataError(f"{item}: {width}x{height} pixels; expected sides of at most 1:{_MOST_STRETCHED}")
    return image


def class_folders(root: Path, name: str) -> list[str]:
    """Names of a split's class folders, sorted, folders 0, 1, 2, ... by number; hidden ones are left out.

    Raises:
        DataError: The folder is missing, holds none, or some have ImageNet's names and few have not.
    """
    if not root.is_dir():
        raise DataError(f"{name}: folder {root} is missing; expected a folder for each class in it")
    with os.scandir(root) as entries:
        found = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        flat = any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir())
        how = "its images lie flat: move each into the folder of its class" if flat else "it holds none"
        raise DataError(f"{name}: expected a folder for each class in {root}, for example n01440764/; {how}")
    known = _imagenet_places()
    strange = [folder for folder in found if folder not in known]
    if 0 < len(strange) < len(found) / 2:
        raise DataError(
            f"{name}: {len(found) - len(strange)} folders of {root} are classes of ImageNet-1k, these are not: "
            f"{shortened(strange)}; rename or remove them"
        )
    # Sorted as text, 10 comes before 2, and classifiers with outputs in ImageNet's order would be scored wrongly.
    numbers = [str(place) for place in range(len(found))]
    return numbers if set(found) == set(numbers) else found


def imagenet_order(classes: Sequence[str]) -> Labels | None:
    """Places of WordNet ids among the 1,000 outputs of ImageNet classifiers; None where a name is none of theirs.

    Source: timm's list, the order in which every published classifier has them.
    """
    known = _imagenet_places()
    return np.array([known[name] for name in classes], np.int64) if all(name in known for name in classes) else None


@lru_cache(maxsize=1)
def _imagenet_places() -> dict[str, int]:
    from timm.data.imagenet_info import ImageNetInfo  # timm is slow to import

    return {name: place for place, name in enumerate(ImageNetInfo("imagenet-1k").label_names())}


def _images_in(root: Path, folder: str) -> list[str]:
    return sorted(
        (Path(where) / file).relative_to(root).as_posix()
        for where, _, files in os.walk(root / folder)
        for file in files
        if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith(".")
    )
