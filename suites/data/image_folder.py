"""Any folder of images without masks, for what needs no truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from .decode import IMAGE_SUFFIXES, Pixels, read_image, upright_size
from .masks import MaskDataset


class ImageFolder(MaskDataset):
    """The images of a folder and of the folders below it; none has a mask.

    Args:
        root: The folder; hidden files are left out.
        name: For tables and messages.

    Raises:
        DataError: The folder is missing or has no image.
    """

    threshold = 127

    def __init__(self, root: Path | str, name: str = "images") -> None:
        self.name, self.root = name, Path(root)
        if not self.root.is_dir():
            raise DataError(
                f"{name}: {self.root} is no folder; give one that holds images ({', '.join(IMAGE_SUFFIXES)})"
            )
        self.paths = sorted(
            path
            for path in self.root.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if not self.paths:
            raise DataError(f"{name}: no image ({', '.join(IMAGE_SUFFIXES)}) in {self.root}")
        self.items = tuple(path.relative_to(self.root).as_posix() for path in self.paths)

    def image(self, index: int) -> Pixels:
        return read_image(self.paths[index])

    def labels(self, index: int) -> Pixels:
        return np.zeros((0, *upright_size(self.paths[index])), np.uint8)

    def files(self, index: int) -> tuple[Path, ...]:
        return (self.paths[index],)
