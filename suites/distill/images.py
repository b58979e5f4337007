"""The images of a distillation: drawn ones, a registered set, or any folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...errors import DataError, UsageError
from ..data.datasets import DATASETS, find_dataset
from ..data.decode import Pixels
from ..data.demo.build import build_demo, demo_root
from ..data.image_folder import ImageFolder
from ..data.masks import MaskDataset, shortened
from ..data.sa1b import SegmentAnything1B
from .options import DistillOptions

DEMO_SETS = ("coconut", "dis-tr")


class DistillImages:
    """Images of one or more sets, one after another; their masks are not read.

    Args:
        kind: `demo`, `folder` or the name of a registered set.
        sets: The sets.
        limit: Only the first images.
    """

    def __init__(self, kind: str, sets: Sequence[MaskDataset], limit: int | None = None) -> None:
        self.kind = kind
        self.sets = tuple(sets)
        places = [(which, index) for which, one in enumerate(self.sets) for index in range(len(one))]
        self._places = places[:limit]

    def __len__(self) -> int:
        return len(self._places)

    def image(self, index: int) -> Pixels:
        """RGB, `[H, W, 3]` uint8, upright.

        Raises:
            DataError: The file is missing or unreadable.
        """
        which, place = self._places[index]
        return self.sets[which].image(place)

    def fingerprint(self) -> str:
        """16 hex digits over the sets' own fingerprints and the number of images used."""
        text = ",".join([*(one.fingerprint() for one in self.sets), str(len(self))])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_bad(bad: Mapping[int, str], max_bad: int) -> None:
    """Hold the unreadable images met so far, and why they are, against the number that is tolerated.

    Raises:
        DataError: There are more; they are named.
    """
    if len(bad) > max_bad:
        raise DataError(
            f"{len(bad)} images could not be read: {shortened(list(bad.values()))}; mend them, or tolerate them with "
            f"--max-bad {len(bad)}"
        )


def open_images(options: DistillOptions, *, drawing: Callable[[int, int], None] | None = None) -> DistillImages:
    """Open the data that `options` ask for; draws the demo data where they are needed and not there yet.

    Raises:
        UsageError: `data` is neither a known name nor a folder.
        DataError: The set is missing or incomplete, or the folder has no image.
    """
    if options.data == "demo":
        root = build_demo(demo_root(cache=options.cache), progress=drawing)
        return DistillImages("demo", [find_dataset(name, root) for name in DEMO_SETS], options.limit)
    if options.data in DATASETS:
        return DistillImages(options.data, [find_dataset(options.data, options.data_root)], options.limit)
    folder = Path(options.data).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"--data '{options.data}' is neither a folder nor known; expected demo, a folder of images, or one of "
            f"{', '.join(DATASETS)}"
        )
    parts = any(path.is_dir() for path in folder.glob("sa_[0-9][0-9][0-9][0-9][0-9][0-9]"))
    return DistillImages("folder", [SegmentAnything1B(folder) if parts else ImageFolder(folder)], options.limit)
