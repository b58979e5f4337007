"""COCO results files: masks written as they come, in a file that appears only when it is whole."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, UsageError
from ...heads.run_lengths import Rle, encode_masks
from .coco_json import CocoImage
from .coco_rle import area


class ResultsWriter:
    """Takes masks, one image after another; `results_writer` makes it.

    Attributes:
        count: Masks written.
        empty: Those without a pixel.
    """

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.count = 0
        self.empty = 0
        self._path = path
        self._file = file

    def add(
        self, image: CocoImage, masks: npt.NDArray[Any], scores: npt.NDArray[Any], categories: npt.NDArray[Any]
    ) -> None:
        """Write masks of one image; call it again for more of them.

        Args:
            image: The image.
            masks: `[n, H, W]` at the image's own size; non-zero is foreground. An empty mask is a result like others.
            scores: `[n]`.
            categories: `[n]`, category ids of the data set.

        Raises:
            UsageError: Masks of another size, counts that differ, or scores that are not finite.
            DataError: The disk is full.
        """
        if masks.ndim != 3 or masks.shape[1:] != (image.height, image.width):
            raise UsageError(
                f"masks {list(masks.shape)} for {image.file}; expected [n, {image.height}, {image.width}], its own size"
            )
        self.add_encoded(image, encode_masks(masks), scores, categories)

    def add_encoded(
        self, image: CocoImage, masks: Sequence[Rle], scores: npt.NDArray[Any], categories: npt.NDArray[Any]
    ) -> None:
        """As `add`, of masks that are encoded already (`encode_masks`)."""
        if bad := next((mask["size"] for mask in masks if mask["size"] != [image.height, image.width]), None):
            raise UsageError(f"a mask of {bad} for {image.file}; expected {[image.height, image.width]}, its own size")
        if not len(masks) == len(scores) == len(categories):
            raise UsageError(
                f"{len(masks)} masks, {len(scores)} scores and {len(categories)} categories for {image.file}; "
                "expected as many of each"
            )
        if not np.isfinite(scores).all():
            raise UsageError(f"scores of {image.file} are not finite")
        entries = [
            {"image_id": image.id, "category_id": int(category), "segmentation": rle, "score": float(score)}
            for rle, score, category in zip(masks, scores, categories, strict=True)
        ]
        lines = [("[\n" if self.count + at == 0 else ",\n") + json.dumps(entry) for at, entry in enumerate(entries)]
        with _told(self._path):
            self._file.writelines(lines)
        self.count += len(entries)
        self.empty += sum(area(mask) == 0 for mask in masks)


@contextmanager
def results_writer(path: Path | str) -> Iterator[ResultsWriter]:
    """Write a results file mask by mask; memory does not grow with the number of images.

    Entries have `image_id`, `category_id`, `score` and a compressed RLE `segmentation`, and no `bbox`: with one, tools
    take the box's area to tell small from large. The file is there when the block was left without an error; before,
    and after an error, there is what was there earlier.

    Args:
        path: The file; one that is there is replaced at the end.

    Raises:
        DataError: The file cannot be written.
    """
    path = Path(path)
    part = path.parent / f".{secrets.token_hex(8)}.part"
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("x", encoding="utf-8")
    try:
        writer = ResultsWriter(path, file)
        yield writer
        with _told(path):
            file.write("\n]\n" if writer.count else "[]\n")
            file.flush()
            os.fsync(file.fileno())
            file.close()
            part.replace(path)
    finally:
        with suppress(OSError):  # what a full disk did not take is given up
            file.close()
        part.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"results {path} cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
