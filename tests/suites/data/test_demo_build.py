import hashlib
import json

import cv2
import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.suites.data.datasets import DATASETS, find_dataset
from linbench.suites.data.demo.build import build_demo, demo_root
from linbench.suites.data.demo.layouts import DemoCounts, draw
from linbench.suites.data.demo.scenes import MAX_OBJECTS, MIN_OBJECTS

# Of the drawn pixels, before JPEG: image and labels of three images at seed 0.
CHECKSUMS = {
    ("panoptic", 0): "4a51eac294cb2012",
    ("dis_vd", 1): "da32ab6c9e1f3afc",
    ("coift", 2): "d8d7ab8dcf44893b",
}
TINY = DemoCounts(panoptic=1, dis_tr=1, dis_vd=1, coift=0, hrsod=0, thinobject=0, coco=1)


@pytest.mark.parametrize(("name", "index"), CHECKSUMS)
def test_drawing_is_the_same_on_every_machine(name, index):
    image, labels, _ = draw(0, name, index)
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes() + np.ascontiguousarray(labels).tobytes())
    assert digest.hexdigest()[:16] == CHECKSUMS[name, index]


def test_decoded_files_hold_what_was_drawn(demo):
    image, labels, _ = draw(0, "dis_vd", 1)
    dataset = find_dataset("dis-vd", demo)
    assert np.array_equal(dataset.masks(1)[0], labels > 0)
    assert np.abs(dataset.image(1).astype(int) - image).mean() < 6


def test_every_set_is_found_by_its_reader(demo):
    found = {
        name: len(find_dataset(name, demo)) for name in ("coconut", "dis-tr", "dis-vd", "coift", "hrsod", "thinobject")
    }
    assert found == {"coconut": 4, "dis-tr": 3, "dis-vd": 3, "coift": 2, "hrsod": 1, "thinobject": 1}
    assert set(found) < set(DATASETS)


def test_instances_are_many_and_each_is_visible(demo):
    dataset = find_dataset("coconut", demo)
    for index in range(len(dataset)):
        masks = dataset.masks(index)
        assert MIN_OBJECTS <= len(masks) <= MAX_OBJECTS
        assert masks.sum((1, 2)).min() >= 64
        assert masks.sum(0).max() == 1


def test_sizes_stay_in_range(demo):
    for name in ("coconut", "dis-tr", "dis-vd", "coift", "hrsod"):
        dataset = find_dataset(name, demo)
        for index in range(len(dataset)):
            assert min(dataset.image(index).shape[:2]) >= 256
            assert max(dataset.image(index).shape[:2]) <= 1024


def test_workers_and_larger_training_sets_change_nothing(tmp_path):
    one = build_demo(tmp_path / "one", counts=TINY, workers=1)
    two = build_demo(tmp_path / "two", counts=DemoCounts(9, 1, 1, 0, 0, 0, 2), workers=2)
    first, second = (json.loads((root / "manifest.json").read_text())["files"] for root in (one, two))
    shared = [file for file in first if not file.endswith(".json")]
    assert len(shared) == 7
    assert all(first[file] == second[file] for file in shared)


def test_another_seed_is_another_drawing():
    one, other = (draw(seed, "dis_vd", 0)[0] for seed in (0, 1))
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_manifest_hashes_the_files(demo):
    manifest = json.loads((demo / "manifest.json").read_text())
    assert len(manifest["files"]) == 2 * 14 + 1 + 3 + 2
    for file, digest in manifest["files"].items():
        assert hashlib.sha256((demo / file).read_bytes()).hexdigest() == digest


def test_second_call_draws_nothing(demo):
    before = (demo / "manifest.json").stat().st_mtime_ns
    counts = DemoCounts(**json.loads((demo / "manifest.json").read_text())["counts"])
    seen = []
    assert build_demo(demo, counts=counts, progress=lambda *state: seen.append(state)) == demo
    assert not seen
    assert (demo / "manifest.json").stat().st_mtime_ns == before


def test_other_data_are_not_overwritten(demo, tmp_path):
    with pytest.raises(UsageError, match="another seed"):
        build_demo(demo, counts=TINY)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not empty"):
        build_demo(tmp_path, counts=TINY)
    assert (tmp_path / "thesis.tex").exists()


def test_an_interrupted_drawing_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path / "demo", counts=TINY, workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_and_torn_manifest_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        build_demo(tmp_path / "file" / "demo", counts=TINY, workers=1)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "manifest.json").write_text('{"gener')
    with pytest.raises(DataError, match="unreadable"):
        build_demo(tmp_path / "demo", counts=TINY)


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path))
    assert demo_root().is_relative_to(tmp_path)
    assert demo_root(0) != demo_root(1)
    assert demo_root(0, DemoCounts.with_training(100)) != demo_root(0)


def test_training_count_is_divided():
    counts = DemoCounts.with_training(4001)
    assert counts.panoptic + counts.dis_tr == 4001
    assert DemoCounts().panoptic + DemoCounts().dis_tr >= 400
    with pytest.raises(UsageError):
        build_demo(train_images=0)


def test_box_baseline_is_far_from_solved(demo):
    shares = []
    for name in ("dis-tr", "dis-vd", "coift"):
        dataset = find_dataset(name, demo)
        for index in range(len(dataset)):
            mask = dataset.masks(index)[0]
            _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
            shares.append(mask.sum() / (width * height))
    assert np.mean(shares) < 0.6
