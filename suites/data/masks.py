"""Images with masks: the interface, and the reader of two-folder data sets."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from .decode import IMAGE_SUFFIXES, Pixels, file_hash, read_image, read_label, upright_size

Bools = npt.NDArray[np.bool_]

OFFICIAL_THRESHOLD = 128
"""The high-quality sets' evaluation code counts a label as foreground above this."""
SOFT_THRESHOLD = 127
"""Any other folder: foreground from 128 on."""

_PHOTOS = (".jpg", ".jpeg")
_DRAWINGS = (".png",)
_HASHED_SAMPLE = 16
_SHOWN = 10
_GROUPS_THAT_MATTER = 8


class Pair(NamedTuple):
    """An image file and its mask file."""

    image: Path
    mask: Path


class MaskDataset(ABC):
    """Images with one or more masks each.

    Attributes:
        name: For tables and messages.
        items: Name of each image, sorted.
        threshold: A label value above it is foreground.
    """

    name: str
    items: tuple[str, ...]
    threshold: int

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """RGB, `[H, W, 3]` uint8, upright.

        Raises:
            DataError: The file is missing or unreadable.
        """

    @abstractmethod
    def labels(self, index: int) -> Pixels:
        """Grey labels 0..255, `[n, H, W]`, soft edges as the file has them; the size is the image's.

        Raises:
            DataError: The file is missing, unreadable or of another size than the image.
        """

    def masks(self, index: int) -> Bools:
        """Binary masks `[n, H, W]` at the image's resolution; `n` may be 0, a mask may be empty."""
        return np.asarray(self.labels(index) > self.threshold)

    def layers(self, index: int) -> Pixels:
        """The same masks packed as numbers: `[layers, H, W]` uint8, 0 nothing, else 1, 2, ... unique over all layers.

        Masks share a layer while they do not overlap, so that one resize moves many.

        Raises:
            DataError: There are more than 255 masks.
        """
        return pack_layers(self.masks(index))

    @abstractmethod
    def files(self, index: int) -> tuple[Path, ...]:
        """Files the item is read from."""

    def problems(self) -> list[str]:
        """What is wrong with the set as a whole and is left out of it, one line each; images are not opened."""
        return []

    def fingerprint(self, *, full: bool = False) -> str:
        """16 hex digits over names, sizes and content: of `full` all files, else of 16 items spread over the set.

        Raises:
            DataError: A file is missing.
        """
        digest = hashlib.sha256(self.name.encode())
        count = len(self)
        hashed = (
            range(count) if full else {round(at * (count - 1) / (_HASHED_SAMPLE - 1)) for at in range(_HASHED_SAMPLE)}
        )
        for index, item in enumerate(self.items):
            for path in self.files(index):
                try:
                    content = file_hash(path) if index in hashed else ""
                    digest.update(f"\n{item}\t{path.name}\t{path.stat().st_size}\t{content}".encode())
                except OSError as error:
                    raise DataError(f"{self.name}: {path} cannot be read ({error.strerror})") from error
        return digest.hexdigest()[:16]


def pack_layers(masks: Bools) -> Pixels:
    """Pack binary masks `[n, H, W]` as `MaskDataset.layers` describes."""
    if len(masks) > 255:
        raise DataError(f"an image with {len(masks)} masks; at most 255 are read")
    layers: list[Pixels] = []
    for number, mask in enumerate(masks, 1):
        layer = next((layer for layer in layers if not layer[mask].any()), None)
        if layer is None:
            layer = np.zeros(masks.shape[1:], np.uint8)
            layers.append(layer)
        layer[mask] = number
    return np.stack(layers) if layers else np.zeros((0, *masks.shape[1:]), np.uint8)


class FolderMasks(MaskDataset):
    """One folder of images, one of masks of the same stems.

    Args:
        name: For tables and messages.
        pairs: Image and mask of each item.
        threshold: A label value above it is foreground.
    """

    def __init__(self, name: str, pairs: Sequence[Pair], *, threshold: int = OFFICIAL_THRESHOLD) -> None:
        self.name = name
        self.threshold = threshold
        self.pairs = tuple(sorted(pairs, key=lambda pair: pair.image.stem))
        self.items = tuple(pair.image.stem for pair in self.pairs)

    @classmethod
    def open(cls, name: str, images: Path, masks: Path, *, threshold: int = OFFICIAL_THRESHOLD) -> FolderMasks:
        """Match the two folders by stem.

        Raises:
            DataError: A folder is missing or empty, or an image has no mask.
        """
        pairs, lonely = match_folders(name, images, masks)
        if lonely:
            count = f"{len(lonely)} of {len(pairs) + len(lonely)}"
            raise DataError(f"{name}: {count} images have no mask in {masks}: {shortened(lonely)}")
        return cls(name, pairs, threshold=threshold)

    def image(self, index: int) -> Pixels:
        return read_image(self.pairs[index].image)

    def labels(self, index: int) -> Pixels:
        pair = self.pairs[index]
        label = read_label(pair.mask)
        height, width = upright_size(pair.image)
        if label.shape != (height, width):
            raise DataError(
                f"{pair.mask}: mask of {label.shape[1]}x{label.shape[0]} for an image of {width}x{height} pixels"
            )
        return label[None]

    def files(self, index: int) -> tuple[Path, ...]:
        return tuple(self.pairs[index])

    def split(self, *, fraction: float = 0.3, seed: int = 0) -> tuple[FolderMasks, FolderMasks]:
        """Split by name into a training and an evaluation set.

        The side of an item depends on its name and the seed alone, so it does not change when files are added. Frames
        of a sequence (`NAME_0001`, `NAME_0002`) stay on one side where the set has at least eight such groups.

        Args:
            fraction: Expected share of the evaluation set, between 0 and 1.
            seed: Another seed is another split.

        Raises:
            UsageError: The fraction is not between 0 and 1, or there are fewer than two groups.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"evaluation fraction is {fraction}; expected between 0 and 1")
        groups = self._groups(lambda stem: re.sub(r"[_-]\d+$", "", stem))
        if len(groups) < _GROUPS_THAT_MATTER:
            groups = self._groups(str)
        if len(groups) < 2:
            raise UsageError(f"{self.name} has {len(self)} image(s); a split needs at least 2")
        places = {group: _place(group, seed) for group in groups}
        ordered = sorted(groups, key=lambda group: places[group])
        cut = min(max(1, sum(place < fraction for place in places.values())), len(groups) - 1)
        chosen = set(ordered[:cut])
        sides = [
            [pair for group, pairs in groups.items() if (group in chosen) is side for pair in pairs]
            for side in (False, True)
        ]
        train, evaluation = (FolderMasks(self.name, side, threshold=self.threshold) for side in sides)
        return train, evaluation

    def _groups(self, key: Callable[[str], str]) -> dict[str, list[Pair]]:
        groups: dict[str, list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            groups[key(pair.image.stem)].append(pair)
        return dict(groups)


def match_folders(name: str, images: Path, masks: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of image and mask with equal stems, and the images without a mask.

    Where both lie in one folder, JPEG files are the images and PNG files the masks.

    Raises:
        DataError: A folder is missing, there are no images, or two share a stem.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{name}: folder {folder} is missing")
    image_kinds, mask_kinds = (_PHOTOS, _DRAWINGS) if images == masks else (IMAGE_SUFFIXES, IMAGE_SUFFIXES)
    by_stem = {path.stem: path for path in reversed(_files(masks, mask_kinds))}
    pictures = _files(images, image_kinds)
    if not pictures:
        raise DataError(f"{name}: no images ({', '.join(image_kinds)}) in {images}")
    stems = Counter(path.stem for path in pictures)
    if twice := [path.name for path in pictures if stems[path.stem] > 1]:
        raise DataError(f"{name}: images of the same stem in {images}: {shortened(twice)}")
    pairs = [Pair(path, by_stem[path.stem]) for path in pictures if path.stem in by_stem]
    return pairs, [path.name for path in pictures if path.stem not in by_stem]


def unmatched_masks(pairs: Sequence[Pair], masks: Path) -> list[Path]:
    """Mask files that belong to no image."""
    used = {pair.mask for pair in pairs}
    kinds = _DRAWINGS if any(pair.image.parent == masks for pair in pairs) else IMAGE_SUFFIXES
    return [path for path in _files(masks, kinds) if path not in used]


def _files(folder: Path, kinds: Sequence[str]) -> list[Path]:
    # Archives made on a Mac hold a ._NAME.jpg beside each NAME.jpg, which is no image.
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in kinds and path.name[0] != ".")


def open_folder(name: str, root: Path | str) -> FolderMasks:
    """Open any folder with `im/` + `gt/` or `images/` + `masks/`; soft masks are cut at 128.

    Raises:
        DataError: The folders are not there, are empty, or do not match.
    """
    root = Path(root)
    for images, masks in (("im", "gt"), ("images", "masks")):
        if (root / images).is_dir() and (root / masks).is_dir():
            return FolderMasks.open(name, root / images, root / masks, threshold=SOFT_THRESHOLD)
    raise DataError(f"{name}: {root} has neither im/ and gt/ nor images/ and masks/")


def shortened(names: Sequence[str]) -> str:
    """The first ten names and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _place(group: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") / 2**64
