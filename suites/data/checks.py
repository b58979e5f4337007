"""Check a data set file by file: counts, readability, sizes, empty masks."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from .coco import CocoInstances
from .coco_boxes import truth_boxes
from .datasets import IMAGENET, WHOLE, dataset_spec, find_dataset, locate
from .demo.publish import read_manifest
from .imagenet_check import check_imagenet
from .masks import FolderMasks, MaskDataset, match_folders, open_folder, unmatched_masks

_DEMO_COUNTS = {
    "dis-tr": "dis_tr",
    "dis-vd": "dis_vd",
    "coift": "coift",
    "hrsod": "hrsod",
    "thinobject": "thinobject",
    "ade20k": "ade20k",
    "coconut": "panoptic",
    "coco": "coco",
}


@dataclass
class DataReport:
    """What a check found.

    Attributes:
        name: Data set.
        root: Folder of its images.
        found: Usable items.
        expected: Items of the official (or demo) set, or None where that is not known.
        tree: Expected folders.
        demo: Whether these are demo data.
        fingerprint: Of the usable items.
        smallest: Width and height of the image with the fewest pixels.
        largest: Likewise with the most.
        median_foreground: Median share of the image that is foreground.
        problems: One line for each bad file or missing part.
    """

    name: str
    root: str
    found: int = 0
    expected: int | None = None
    tree: str = ""
    demo: bool = False
    fingerprint: str = ""
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    median_foreground: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the set is whole and every file is usable."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {**asdict(self), "ok": self.ok}


def check_dataset(
    name: str,
    root: Path | str | None = None,
    *,
    limit: int | None = None,
    full: bool = False,
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Check a registered data set below a data root (default `LINBENCH_DATA`).

    Args:
        name: Registry name.
        root: Data root.
        limit: Decode so many items only, spread over the set.
        full: Hash every file for the fingerprint, not a sample.
        workers: Decoding threads.
        progress: Called with (items done, items in all).

    Raises:
        UsageError: Unknown name, or no data root.
    """
    spec = dataset_spec(name)
    report = DataReport(name, "", expected=spec.count or None, tree=spec.tree)
    if name == IMAGENET:
        return check_imagenet(report, root, limit=limit, full=full, workers=workers, progress=progress)
    try:
        images, masks = locate(name, root)
        report.root = str(images)
        if (manifest := _manifest_above(images)) is not None:
            report.demo = True
            report.expected = manifest["counts"].get(_DEMO_COUNTS.get(name, ""))
        whole = name in WHOLE or name == "coco"
        dataset = find_dataset(name, root) if whole else _usable(report, spec.title, images, masks)
    except DataError as error:
        report.problems.append(str(error).removesuffix(f" Run `bench data check {name}`"))
        return report
    report.problems += dataset.problems()
    if isinstance(dataset, CocoInstances):
        report.problems += _box_problems(dataset)
    _check_items(report, dataset, limit, workers, progress)
    report.fingerprint = dataset.fingerprint(full=full)
    if report.expected is not None and len(dataset) != report.expected:
        report.problems.append(f"{spec.title}: {len(dataset)} images with masks; expected {report.expected}")
    return report


def check_folder(
    name: str, root: Path | str, *, workers: int = 4, progress: Callable[[int, int], None] | None = None
) -> DataReport:
    """Check any folder with `im/` + `gt/` or `images/` + `masks/`, as `check_dataset` does."""
    report = DataReport(name, str(root), tree="im/ and gt/, or images/ and masks/")
    try:
        dataset = open_folder(name, root)
    except DataError as error:
        report.problems.append(str(error))
        return report
    _check_items(report, dataset, None, workers, progress)
    report.fingerprint = dataset.fingerprint()
    return report


def _box_problems(dataset: CocoInstances) -> list[str]:
    try:
        counts = truth_boxes(dataset).counts
    except DataError as error:
        return [str(error)]
    return [f"{dataset.json}: {counts.outside} boxes lie outside their image or are empty"] if counts.outside else []


def _usable(report: DataReport, title: str, images: Path, masks: Path) -> FolderMasks:
    pairs, lonely = match_folders(title, images, masks)
    report.problems += [f"{images / name}: no mask in {masks}" for name in lonely]
    report.problems += [f"{path}: no image in {images}" for path in unmatched_masks(pairs, masks)]
    if not pairs:
        raise DataError(f"{title}: no image in {images} has a mask in {masks}")
    return FolderMasks(title, pairs)


def _manifest_above(folder: Path) -> dict[str, Any] | None:
    near = [folder, *folder.parents][:4]
    return next((found for parent in near if (found := read_manifest(parent)) is not None), None)


def _check_items(
    report: DataReport,
    dataset: MaskDataset,
    limit: int | None,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    count = len(dataset) if limit is None else min(limit, len(dataset))
    indices = [at * len(dataset) // count for at in range(count)]
    sizes: list[tuple[int, int]] = []
    shares: list[float] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, result in enumerate(pool.map(lambda index: _check_item(dataset, index), indices), 1):
            if isinstance(result, str):
                report.problems.append(result)
            else:
                sizes.append(result[0])
                shares.append(result[1])
            if progress is not None:
                progress(done, count)
    report.found = len(dataset) - (count - len(sizes))
    if sizes:
        by_area = sorted(sizes, key=lambda size: size[0] * size[1])
        report.smallest, report.largest = by_area[0], by_area[-1]
        report.median_foreground = statistics.median(shares)


def _check_item(dataset: MaskDataset, index: int) -> tuple[tuple[int, int], float] | str:
    try:
        if isinstance(dataset, CocoInstances):
            dataset.check(index)
        image, masks = dataset.image(index), dataset.masks(index)
    except DataError as error:
        return str(error)
    if masks.shape[1:] != image.shape[:2]:
        return (
            f"{dataset.files(index)[-1]}: masks of {masks.shape[1:]} for an image of {image.shape[:2]} (rows, columns)"
        )
    blank = not masks.any((1, 2)).all() if isinstance(dataset, CocoInstances) else not masks.any()
    if blank:  # an image of COCO may have no object, but one that it has shows
        return f"{dataset.files(index)[-1]}: the mask is empty"
    return (image.shape[1], image.shape[0]), float(masks.any(0).mean())
