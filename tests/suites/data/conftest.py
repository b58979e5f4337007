import numpy as np
import pytest
from linbench.suites.data.demo.build import build_demo
from linbench.suites.data.demo.layouts import DemoCounts
from PIL import Image

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
