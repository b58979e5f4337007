import contextlib
import io
import json
import tracemalloc

import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.suites.data.coco_json import CocoImage
from linbench.suites.data.coco_results import results_writer
from pycocotools.coco import COCO

IMAGE = CocoImage(7, "000000000007.jpg", 30, 40)


def masks_of(count, seed=0):
    return np.random.default_rng(seed).random((count, 30, 40)) < 0.4


def write(path, parts):
    with results_writer(path) as writer:
        for masks in parts:
            writer.add(IMAGE, masks, np.linspace(0.1, 1 / 3, len(masks)), np.arange(len(masks)) + 1)
    return writer


def test_pycocotools_reads_what_is_written(tmp_path):
    masks = masks_of(4)
    masks[2] = False
    writer = write(tmp_path / "new" / "r.json", [masks[:3], masks[3:]])
    assert (writer.count, writer.empty) == (4, 1)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7, "height": 30, "width": 40}],
        "categories": [{"id": number} for number in range(1, 5)],
        "annotations": [],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        read = truth.loadRes(str(tmp_path / "new" / "r.json"))
    found = read.loadAnns(read.getAnnIds(imgIds=[7]))
    assert [one["area"] for one in found] == masks.sum((1, 2)).tolist()
    assert [one["category_id"] for one in found] == [1, 2, 3, 1]
    assert [one["score"] for one in found] == [*np.linspace(0.1, 1 / 3, 3), 0.1]
    assert all(np.array_equal(read.annToMask(one), mask) for one, mask in zip(found, masks, strict=True))


def test_entries_have_no_box_and_plain_text(tmp_path):
    write(tmp_path / "r.json", [masks_of(1).astype(np.float32)])
    (entry,) = json.loads((tmp_path / "r.json").read_text())
    assert set(entry) == {"image_id", "category_id", "segmentation", "score"}
    assert entry["segmentation"]["size"] == [30, 40]


@pytest.mark.parametrize("parts", [[], [masks_of(0)]])
def test_nothing_is_an_empty_list(tmp_path, parts):
    write(tmp_path / "r.json", parts)
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("before")

    def interrupted():
        yield masks_of(2)
        assert path.read_text() == "before"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write(path, [masks_of(1)])
    assert len(json.loads(path.read_text())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_misfits_are_refused(tmp_path):
    with results_writer(tmp_path / "r.json") as writer:
        with pytest.raises(UsageError, match=r"expected \[n, 30, 40\]"):
            writer.add(IMAGE, np.zeros((1, 40, 30)), np.ones(1), np.ones(1, int))
        with pytest.raises(UsageError, match="2 masks, 1 scores"):
            writer.add(IMAGE, masks_of(2), np.ones(1), np.ones(2, int))
        with pytest.raises(UsageError, match="not finite"):
            writer.add(IMAGE, masks_of(1), np.array([np.nan]), np.ones(1, int))
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_an_unwritable_place_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"), results_writer(tmp_path / "file" / "r.json"):
        pass


def test_a_full_disk_is_told_and_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    with pytest.raises(FileNotFoundError, match="elsewhere"), results_writer(path):
        raise FileNotFoundError(2, "elsewhere")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"r\.json cannot be written \(No space left"):
        write(path, [masks_of(1)])
    assert list(tmp_path.iterdir()) == []


def test_memory_stays_flat(tmp_path):
    masks = masks_of(10)
    tracemalloc.start()
    try:
        with results_writer(tmp_path / "r.json") as writer:
            for _ in range(200):
                writer.add(IMAGE, masks, np.ones(10), np.ones(10, int))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (tmp_path / "r.json").stat().st_size / 3
