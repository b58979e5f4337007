"""The mask data sets by name: where official archives put their files, and how many there are."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, UsageError
from ...settings import data_root
from .coconut import CoconutPanoptic
from .masks import FolderMasks, MaskDataset


@dataclass(frozen=True)
class DatasetSpec:
    """One data set as its authors distribute it.

    Attributes:
        name: Registry name.
        title: Name in tables.
        images: Image folder below the data root; empty for panoptic sets, whose `root` is searched.
        masks: Mask folder below the data root.
        count: Images of the whole official set; 0 where releases differ.
        source: Where it comes from.
    """

    name: str
    title: str
    images: str
    masks: str
    count: int
    source: str

    @property
    def tree(self) -> str:
        """The expected folders, for messages."""
        if self.name == "coconut":
            return "COCONut/{coconut_b.json, panoptic_coconut_b/*.png, train2017/*.jpg, unlabeled2017/*.jpg}"
        return f"{self.images}/*.jpg and {self.masks}/*.png ({self.count} each)"


_DIS = "https://xuebinqin.github.io/dis (DIS5K)"
_COCONUT = "https://github.com/bytedance/coconut_cvpr2024"
_HQ = "https://github.com/SysCV/sam-hq (HQSeg-44K, evaluation sets)"

DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec("dis-tr", "DIS-TR", "DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", 3000, _DIS),
        DatasetSpec("dis-vd", "DIS", "DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", 470, _DIS),
        *(
            DatasetSpec(f"dis-te{part}", f"DIS-TE{part}", f"DIS5K/DIS-TE{part}/im", f"DIS5K/DIS-TE{part}/gt", 500, _DIS)
            for part in range(1, 5)
        ),
        DatasetSpec("coift", "COIFT", "COIFT/images", "COIFT/masks", 280, _HQ),
        DatasetSpec("hrsod", "HRSOD", "HRSOD/images", "HRSOD/masks_max255", 287, _HQ),
        DatasetSpec("thinobject", "ThinObject5K", "ThinObject5K/images_test", "ThinObject5K/masks_test", 500, _HQ),
        DatasetSpec("coconut", "COCONut-B", "COCONut", "COCONut", 0, _COCONUT),
    )
}


def dataset_spec(name: str) -> DatasetSpec:
    """The spec of a registered data set.

    Raises:
        UsageError: No such name; the message proposes the nearest.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name.lower(), DATASETS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise UsageError(f"unknown data set {name!r}{hint} Known: {', '.join(DATASETS)}")


def locate(name: str, root: Path | str | None = None) -> tuple[Path, Path]:
    """Image and mask folder of a registered set below a data root (both the set's own folder for COCONut).

    Official archives nest: the set is found with or without its parent folder (`DIS5K/DIS-VD` or `DIS-VD`), in `root`
    or one folder further down.

    Raises:
        UsageError: Unknown name, or no root given and `LINBENCH_DATA` not set.
        DataError: The set is not there; the message shows the expected tree.
    """
    spec = dataset_spec(name)
    base = data_root(None if root is None else Path(root))
    if base is None:
        raise UsageError(f"no data root for {name}: set LINBENCH_DATA or give one (`bench data demo` draws demo data)")
    if not base.is_dir():
        raise DataError(f"data root {base} does not exist; expected {spec.tree} in it")
    nested = [path for path in sorted(base.iterdir()) if path.is_dir()]
    for parent in (base, *nested):
        for drop in (0, 1):
            images, masks = (Path(*Path(folder).parts[drop:]) for folder in (spec.images, spec.masks))
            named = drop == 0 or len(images.parts) > 1
            if named and (parent / images).is_dir() and (parent / masks).is_dir():
                return parent / images, parent / masks
    raise DataError(f"{spec.title} not found under {base}; expected {spec.tree}. Run `bench data check {name}`")


def find_dataset(name: str, root: Path | str | None = None) -> MaskDataset:
    """Open a registered data set below a data root (default `LINBENCH_DATA`).

    Raises:
        UsageError: Unknown name or no data root.
        DataError: The set is missing, empty, or images lack masks.
    """
    images, masks = locate(name, root)
    spec = dataset_spec(name)
    if name == "coconut":
        return CoconutPanoptic(images, spec.title)
    return FolderMasks.open(spec.title, images, masks)
