import sys
from pathlib import Path

import numpy as np
import pytest
from linbench.suites.data.demo.build import build_demo
from linbench.suites.data.demo.layouts import DemoCounts
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

SMALL = DemoCounts(panoptic=4, dis_tr=3, dis_vd=3, coift=2, hrsod=1, thinobject=1, coco=3)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    return build_demo(tmp_path_factory.mktemp("data") / "demo", counts=SMALL, workers=1)


@pytest.fixture
def pairs(tmp_path):
    """A folder `im/` + `gt/` of three good pairs, 40x30 pixels."""
    rng = np.random.default_rng(0)
    for folder in ("im", "gt"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 8:30] = 255
        Image.fromarray(image).save(tmp_path / "set" / "im" / f"{name}.jpg")
        Image.fromarray(mask).save(tmp_path / "set" / "gt" / f"{name}.png")
    return tmp_path / "set"


@pytest.fixture
def official(pairs, tmp_path):
    """The same pairs as a data root that holds DIS-VD."""
    root = tmp_path / "root"
    (root / "DIS5K").mkdir(parents=True)
    pairs.rename(root / "DIS5K" / "DIS-VD")
    return root


@pytest.fixture
def coco(tmp_path):
    """A data root that holds COCO: four images, `truth` to be changed before it is opened."""
    from coco_for_tests import Folder

    return Folder(tmp_path)


@pytest.fixture
def entity(tmp_path):
    """A data root with EntitySeg: two good images, and one of each kind that is left out."""
    from layouts_for_tests import HEIGHT, WIDTH, entity_json, photo, polygon, rectangle
    from linbench.heads.run_lengths import encode_masks

    folder = tmp_path / "EntitySeg"
    names = ["entity_01_11580/a.jpg", "entity_02_11598/a.png", "gone.jpg", "void.jpg", "none.jpg", "tiny.jpg"]
    for number, name in enumerate(names[:2]):
        photo(folder / "images_lr" / name, number)
    photo(folder / "images_lr" / "none.jpg")
    photo(folder / "images_lr" / "tiny.jpg", size=(20, 64))
    (folder / "images_lr" / "void.jpg").write_bytes(b"")
    images = [(number, name, 20 if name == "tiny.jpg" else HEIGHT, WIDTH) for number, name in enumerate(names)]
    shapes = [polygon(4, 4, 20, 30), encode_masks(rectangle(24, 8, 40, 50)[None])[0]]
    annotations = [
        (0, shapes[0]),
        (0, shapes[1]),
        (1, shapes[1]),
        (2, shapes[0]),
        (3, shapes[0]),
        (5, polygon(1, 1, 9, 9)),
    ]
    (folder / "entityseg_train_lr.json").write_text(entity_json(images, annotations))
    return tmp_path


@pytest.fixture
def hqseg(tmp_path):
    """A data root as HQ-SAM's code expects it, two pairs a set."""
    from layouts_for_tests import write_pair
    from linbench.suites.data.datasets import DATASETS
    from linbench.suites.data.mixes import MIXES

    for one in MIXES["hqseg-44k"].sets:
        spec = DATASETS[one.name]
        parent = "thin_object_detection" if one.name == "thinobject-tr" else ""
        for stem in ("x", "y"):
            write_pair(tmp_path / parent / spec.images, tmp_path / parent / spec.masks, stem)
    return tmp_path
