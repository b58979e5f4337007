"""Look at every annotation of a semantic set before anything is trained on it or scored with it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from .masks import shortened
from .parallel import in_order
from .semseg import SemanticDataset
from .semseg_classes import IGNORED


@dataclass(frozen=True)
class CheckedSet:
    """What can be used of a set.

    Attributes:
        dataset: The items without a fault.
        bad: One line for each that has one, and for each file that matches nothing.
        pixels: Pixels of each class in the usable annotations, `[K]`.
    """

    dataset: SemanticDataset
    bad: tuple[str, ...]
    pixels: npt.NDArray[np.int64]


def check_semantic(
    dataset: SemanticDataset,
    *,
    limit: int | None = None,
    max_bad: int = 0,
    images: bool = False,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> CheckedSet:
    """Read every annotation and hold its size to its image's.

    Args:
        dataset: The set.
        limit: Only the first items.
        max_bad: Faults that are tolerated; what has one is left out.
        images: Decode the images too, not only their headers.
        workers: Reading threads.
        progress: Called with (items done, items in all).

    Raises:
        DataError: More faults than that, nothing usable, or not one pixel that counts; the first ones are named.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))

    def look(index: int) -> npt.NDArray[np.int64] | str:
        try:
            numbers = dataset.classes(index)
            if images:
                dataset.image(index)
        except DataError as error:
            return str(error)
        return np.bincount(numbers[numbers != IGNORED], minlength=len(dataset.table))

    bad = list(dataset.lonely)
    usable: list[int] = []
    pixels = np.zeros(len(dataset.table), np.int64)
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="check") as pool:
        for index, found in enumerate(in_order(look, range(count), pool, ahead=2 * max(1, workers))):
            if isinstance(found, str):
                bad.append(found)
            else:
                usable.append(index)
                pixels += found
            if progress is not None:
                progress(index + 1, count)
    if len(bad) > max_bad or not usable:
        raise DataError(
            f"{dataset.name}: {len(bad)} of {count + len(dataset.lonely)} items cannot be used: {shortened(bad)}; "
            f"mend them, or leave them out with --max-bad {len(bad)}"
        )
    if not pixels.any():
        raise DataError(
            f"{dataset.name}: {len(usable)} annotations, {dataset.pairs[usable[0]].mask} first, have no pixel of a "
            f"class of {dataset.table.source}; all are ignored: mend the annotations or the table"
        )
    return CheckedSet(dataset.only(usable), tuple(bad), pixels)
