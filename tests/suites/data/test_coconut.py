import json

import numpy as np
import pytest
from linbench.errors import DataError
from linbench.suites.data.coconut import CoconutPanoptic
from linbench.suites.data.masks import pack_layers
from PIL import Image

IDS = {"cat": 7, "dog": 300, "crowd": 70_000, "speck": 9, "grass": 65_536}


@pytest.fixture
def panoptic(tmp_path):
    codes = np.full((40, 50), IDS["grass"], np.int64)
    codes[2:12, 2:12] = IDS["cat"]
    codes[20:30, 20:40] = IDS["dog"]
    codes[32:40, :10] = IDS["crowd"]
    codes[0, 40:45] = IDS["speck"]
    colours = np.stack([codes & 255, codes >> 8 & 255, codes >> 16], 2).astype(np.uint8)
    for folder in ("train2017", "unlabeled2017", "panoptic"):
        (tmp_path / folder).mkdir()
    images, notes = [], []
    for number, (folder, url) in enumerate((("train2017", ""), ("unlabeled2017", "http://x/unlabeled2017/1.jpg"))):
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / folder / f"{number}.jpg")
        Image.fromarray(colours).save(tmp_path / "panoptic" / f"{number}.png")
        segments = [
            {"id": code, "category_id": 200 if name == "grass" else 1, "iscrowd": int(name == "crowd")}
            for name, code in IDS.items()
        ]
        images.append({"id": number, "file_name": f"{number}.jpg", "coco_url": url})
        notes.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    categories = [{"id": 1, "isthing": 1}, {"id": 200, "isthing": 0}]
    text = json.dumps({"images": images, "annotations": notes, "categories": categories})
    (tmp_path / "coconut_b_panoptic.json").write_text(text)
    return tmp_path


def test_things_only_no_crowd_no_specks(panoptic):
    dataset = CoconutPanoptic(panoptic)
    assert len(dataset) == 2
    for index in range(2):
        masks = dataset.masks(index)
        assert sorted(masks.sum((1, 2))) == [100, 200]
        assert set(np.unique(dataset.labels(index))) == {0, 255}
        assert np.array_equal(dataset.layers(index), pack_layers(masks))
        assert dataset.image(index).shape == (40, 50, 3)


def test_missing_parts_are_named(panoptic):
    (panoptic / "unlabeled2017" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"1 files named in .* are missing: .*1\.jpg"):
        CoconutPanoptic(panoptic)
    (panoptic / "panoptic").rename(panoptic / "elsewhere")
    with pytest.raises(DataError, match="panoptic_coconut_b"):
        CoconutPanoptic(panoptic)
    (panoptic / "coconut_b_panoptic.json").write_text('{"images": []}')
    (panoptic / "elsewhere").rename(panoptic / "panoptic")
    with pytest.raises(DataError, match="no COCO panoptic file"):
        CoconutPanoptic(panoptic)
    with pytest.raises(DataError, match=r"coconut_b\.json"):
        CoconutPanoptic(panoptic / "nowhere")
