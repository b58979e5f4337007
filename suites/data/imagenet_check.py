"""Check a data set in ImageNet's layout file by file: splits, classes, counts, readability."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, UsageError
from ...settings import data_root
from .demo.publish import read_manifest
from .imagenet import IMAGENET_CLASSES, LabelledImages, imagenet_order
from .imagenet_layout import TITLE, TREE, check_classes, find_imagenet

if TYPE_CHECKING:
    from .checks import DataReport

OFFICIAL = {"train": 1_281_167, "val": 50_000}


def check_imagenet(
    report: DataReport,
    root: Path | str | None,
    *,
    limit: int | None = None,
    full: bool = False,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Fill `report` with what is found below a data root (default `LINBENCH_DATA`); see `checks.check_dataset`.

    The fingerprint is the validation split's. Classes of your own have no expected count.

    Raises:
        UsageError: No data root.
    """
    base = data_root(None if root is None else Path(root))
    if base is None:
        raise UsageError(f"no data root for {TITLE}: set LINBENCH_DATA or give --data (`bench data demo` draws data)")
    report.tree, report.expected = TREE, None
    try:
        found = find_imagenet(base)
    except DataError as error:
        report.problems.append(str(error).removesuffix(" Run `bench data check imagenet`"))
        return report
    report.root = str(found.root)
    manifest = read_manifest(found.root)
    splits: dict[str, LabelledImages] = {}
    for name in OFFICIAL:
        try:
            splits[name] = found.open(name)
        except DataError as error:
            report.problems.append(str(error))
    if len(splits) == len(OFFICIAL):
        try:
            check_classes(splits["train"], splits["val"])
        except DataError as error:
            report.problems.append(str(error))
    for name, split in splits.items():
        report.found += len(split) - _unreadable(report, split, limit, workers, progress)
        official = imagenet_order(split.classes) is not None
        if manifest is None and official and len(split.classes) != IMAGENET_CLASSES:
            report.problems.append(f"{split.name}: {len(split.classes)} classes; expected {IMAGENET_CLASSES}")
        elif manifest is None and official and len(split) != OFFICIAL[name]:
            report.problems.append(f"{split.name}: {len(split)} images; expected {OFFICIAL[name]}")
    if manifest is not None:
        counts = manifest["counts"]
        report.demo, report.expected = True, counts["classes"] * (counts["train"] + counts["val"])
        if report.found != report.expected:
            report.problems.append(f"{TITLE}: {report.found} usable images; expected {report.expected}")
    if "val" in splits:
        report.fingerprint = splits["val"].fingerprint(full=full)
    return report


def _unreadable(
    report: DataReport,
    split: LabelledImages,
    limit: int | None,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Decode images spread over a split, note sizes and what is wrong; how many are unreadable."""
    count = len(split) if limit is None else min(limit, len(split))
    chosen = [place * len(split) // count for place in range(count)]
    bad = 0
    with ThreadPoolExecutor(workers) as pool:
        for done, result in enumerate(pool.map(lambda index: _size(split, index), chosen), 1):
            if isinstance(result, str):
                report.problems.append(result)
                bad += 1
            else:
                report.smallest = min(report.smallest or result, result, key=_area)
                report.largest = max(report.largest or result, result, key=_area)
            if progress is not None:
                progress(done, count)
    return bad


def _size(split: LabelledImages, index: int) -> tuple[int, int] | str:
    try:
        height, width = split.image(index).shape[:2]
    except DataError as error:
        return str(error)
    return width, height


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
