"""The mask data sets by name: where official archives put their files, and how many there are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import DataError, UsageError
from ...settings import data_root
from .coco import INSTANCES_JSON, CocoInstances
from .coconut import CoconutPanoptic
from .entityseg import TRAIN_JSON, EntitySeg
from .imagenet_layout import IMAGES, LAYOUT, find_imagenet
from .masks import FolderMasks, MaskDataset
from .sa1b import ONE_PERCENT, SegmentAnything1B
from .semseg import ADE20K_FOLDERS, open_whole

IMAGENET = "imagenet"
"""It has classes in place of masks: `imagenet_layout.find_imagenet` opens it."""


@dataclass(frozen=True)
class DatasetSpec:
    """One data set as its authors distribute it.

    Attributes:
        name: Registry name.
        title: Name in tables.
        images: Image folder below the data root; of sets with a `layout`, the folder of all they have.
        masks: Mask folder below the data root; of COCO, the folder of the annotations.
        count: Images of the whole official set; 0 where releases differ.
        source: Where it comes from.
        layout: What is expected in the folder, where it is more than images and masks.
        also: Other names of the folder in use.
    """

    name: str
    title: str
    images: str
    masks: str
    count: int
    source: str
    layout: str = ""
    also: tuple[str, ...] = ()

    @property
    def tree(self) -> str:
        """The expected folders, for messages."""
        if self.layout:
            return f"{self.images}/{{{self.layout}}}" + (f" ({self.count} images)" if self.count else "")
        if self.name == "coco":
            return f"COCO/{{annotations/{INSTANCES_JSON}, val2017/*.jpg}} ({self.count} images)"
        if self.images == self.masks:
            return f"{self.images}/ with *.jpg and *.png of the same names ({self.count} each)"
        return f"{self.images}/*.jpg and {self.masks}/*.png ({self.count} each)"


_DIS = "https://xuebinqin.github.io/dis (DIS5K)"
_COCO = "https://cocodataset.org (2017 val images, 2017 train/val annotations)"
_COCONUT = "https://github.com/bytedance/coconut_cvpr2024"
_HQ = "https://github.com/SysCV/sam-hq (HQSeg-44K, evaluation sets)"
_ENTITY = "https://github.com/adobe-research/EntitySeg-Dataset (annotations), https://github.com/qqlu/Entity (images)"
_SA1B = "https://ai.meta.com/datasets/segment-anything (sa_000000.tar to sa_000009.tar)"
_IMAGENET = "https://image-net.org (ILSVRC2012, training and validation images in class folders)"
_ADE = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)"
_COCONUT_TREE = "coconut_b.json, panoptic_coconut_b/*.png, train2017/*.jpg, unlabeled2017/*.jpg"
_VAL_TREE = "relabeled_coco_val.json, relabeled_coco_val/*.png, val2017/*.jpg"
_CASCADE_PSP = (
    ("fss-1000", "FSS-1000", "fss_all", 10_000),
    ("duts-tr", "DUTS-TR", "DUTS-TR", 10_553),
    ("duts-te", "DUTS-TE", "DUTS-TE", 5_019),
    ("ecssd", "ECSSD", "ecssd", 1_000),
    ("msra10k", "MSRA10K", "MSRA_10K", 10_000),
)

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
        DatasetSpec("coco", "COCO", "COCO/val2017", "COCO/annotations", 5000, _COCO),
        DatasetSpec("coconut", "COCONut-B", "COCONut", "COCONut", 0, _COCONUT, _COCONUT_TREE, ("coconut",)),
        DatasetSpec("coconut-val", "COCONut val", "COCONut", "COCONut", 0, _COCONUT, _VAL_TREE, ("coconut",)),
        DatasetSpec(
            "entityseg",
            "EntitySeg",
            "EntitySeg",
            "EntitySeg",
            31_913,
            _ENTITY,
            layout=f"{TRAIN_JSON}, images_lr/entity_*/*",
            also=("entity_lr", "entityseg", "entity", "Adobe_EntitySeg"),
        ),
        DatasetSpec(
            "sa-1b",
            "SA-1B (1 %)",
            "SA-1B",
            "SA-1B",
            111_860,
            _SA1B,
            layout="sa_000000 to sa_000009, each with sa_N.jpg and sa_N.json",
            also=("sa-1b", "sa_1b", "sa1b", "SA1B", "sam"),
        ),
        DatasetSpec(
            "ade20k",
            "ADE20K",
            "ADEChallengeData2016",
            "ADEChallengeData2016",
            22_210,
            _ADE,
            layout="{images,annotations}/training (20210 each), {images,annotations}/validation (2000 each)",
            also=ADE20K_FOLDERS[1:],
        ),
        DatasetSpec(IMAGENET, "ImageNet", IMAGENET, IMAGENET, IMAGES, _IMAGENET, LAYOUT),
        DatasetSpec(
            "thinobject-tr", "ThinObject5K-TR", "ThinObject5K/images_train", "ThinObject5K/masks_train", 4_748, _HQ
        ),
        *(
            DatasetSpec(name, title, f"cascade_psp/{folder}", f"cascade_psp/{folder}", count, _HQ)
            for name, title, folder, count in _CASCADE_PSP
        ),
    )
}


WHOLE: Mapping[str, Callable[[Path, str], MaskDataset]] = {
    "ade20k": open_whole,
    "coconut": CoconutPanoptic,
    "coconut-val": partial(CoconutPanoptic, validation=True),
    "entityseg": EntitySeg,
    "sa-1b": partial(SegmentAnything1B, folders=ONE_PERCENT),
}
"""Readers of the sets that are one folder of a layout of their own, from that folder and the name in tables."""


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
        raise UsageError(f"no data root for {name}: set LINBENCH_DATA or give --data (`bench data demo` draws data)")
    if not base.is_dir():
        raise DataError(f"data folder {base} does not exist; expected {spec.tree} in it")
    if name == IMAGENET:
        found = find_imagenet(base).root
        return found, found
    nested = [path for path in sorted(base.iterdir()) if path.is_dir()]
    for parent in (base, *nested):
        for drop in (0, 1):
            images, masks = (Path(*Path(folder).parts[drop:]) for folder in (spec.images, spec.masks))
            shared = images == masks and len(images.parts) == 1
            named = drop == 0 or len(images.parts) > 1 or name == "coco" or shared
            if named and (parent / images).is_dir() and (parent / masks).is_dir():
                return parent / images, parent / masks
        if (other := next((parent / folder for folder in spec.also if (parent / folder).is_dir()), None)) is not None:
            return other, other
    raise DataError(f"{spec.title} not found under {base}; expected {spec.tree}. Run `bench data check {name}`")


def find_dataset(name: str, root: Path | str | None = None) -> MaskDataset:
    """Open a registered data set below a data root (default `LINBENCH_DATA`).

    Raises:
        UsageError: Unknown name or no data root.
        DataError: The set is missing, empty, or images lack masks.
    """
    if name == IMAGENET:
        raise UsageError("imagenet has classes and no masks; `bench run classification` trains and evaluates on it")
    images, masks = locate(name, root)
    spec = dataset_spec(name)
    if name in WHOLE:
        return WHOLE[name](images, spec.title)
    if name == "coco":
        return open_coco(root)
    return FolderMasks.open(spec.title, images, masks)


def open_coco(root: Path | str | None = None) -> CocoInstances:
    """Open COCO's validation set below a data root, as `find_dataset` does.

    Raises:
        UsageError: No data root.
        DataError: The set is missing, or its annotations are no instances file.
    """
    images, annotations = locate("coco", root)
    spec = dataset_spec("coco")
    if not (annotations / INSTANCES_JSON).is_file():
        raise DataError(f"{spec.title}: {annotations / INSTANCES_JSON} is missing; expected {spec.tree}")
    return CocoInstances(annotations / INSTANCES_JSON, images, spec.title)
