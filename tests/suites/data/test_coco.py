"""COCO's images, masks and prompts as they are read."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from coco_for_tests import SIZES
from linbench.errors import DataError, UsageError
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data.coco import CocoInstances
from linbench.suites.data.coco_boxes import BOXES_PER_IMAGE, detector_boxes, truth_boxes
from linbench.suites.data.coco_rle import decode_masks
from linbench.suites.data.coco_stream import prompted_images
from linbench.suites.data.datasets import find_dataset
from PIL import Image

MINI = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "coco_mini"


def box(image=1, category=3, bbox=(4, 5, 10, 12), score=0.5):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


def test_images_and_masks(coco):
    dataset = coco.open()
    assert isinstance(dataset, CocoInstances)
    assert dataset.items == tuple(f"{i:012d}" for i in SIZES)
    assert [len(dataset.masks(index)) for index in range(4)] == [2, 1, 1, 0]
    for index, size in enumerate(SIZES.values()):
        assert dataset.image(index).shape == (*size, 3)
        assert dataset.masks(index).shape[1:] == dataset.labels(index).shape[1:] == size
    assert dataset.masks(0).sum((1, 2)).tolist() == [120, 120]
    assert dataset.masks(0)[0, 5:17, 4:14].all()
    assert dataset.truth.unused_categories == ("toothbrush",)
    assert dataset.problems() == []


@pytest.mark.parametrize("at", ["", "COCO", "COCO/.."])
def test_found_with_and_without_its_folder(coco, at):
    coco.open()
    assert len(find_dataset("coco", coco.root / at)) == 4


def test_what_is_missing_is_shown_as_a_tree(coco):
    with pytest.raises(DataError, match=r"instances_val2017.json is missing; expected COCO/\{annotations/"):
        find_dataset("coco", coco.root)
    shutil.rmtree(coco.images)
    with pytest.raises(DataError, match=r"COCO/\{annotations/instances_val2017.json, val2017.*bench data check coco"):
        find_dataset("coco", coco.root)
    for missing in (coco.json, coco.root):
        with pytest.raises(DataError, match="missing"):
            CocoInstances(missing, coco.images)


def test_lvis_images_lie_in_two_folders(coco):
    for image in coco.truth["images"]:
        folder = "train2017" if image["id"] == 2 else "val2017"
        image["coco_url"] = f"http://images.cocodataset.org/{folder}/{image.pop('file_name')}"
    (coco.root / "COCO" / "train2017").mkdir()
    (coco.images / "000000000002.png").rename(coco.root / "COCO" / "train2017" / "000000000002.png")
    dataset = coco.open()
    assert dataset.absent() == []
    assert sorted(dataset.image(index).shape[0] for index in range(4)) == sorted(h for h, _ in SIZES.values())


def test_fingerprint_sees_images_and_annotations(coco):
    first = coco.open().fingerprint()
    assert coco.open().fingerprint() == first
    coco.truth["annotations"][0]["bbox"][0] += 1
    second = coco.open().fingerprint()
    (coco.images / "000000000001.png").unlink()
    assert len({first, second, coco.open().fingerprint()}) == 3


def test_truth_boxes(coco):
    prompts = truth_boxes(coco.open())
    assert prompts[0].boxes.tolist() == [[4, 5, 14, 17], [20, 2, 35, 10]]
    assert prompts[0].categories.tolist() == [3, 18]
    assert prompts[0].scores.tolist() == [1, 1]
    assert (prompts.source, len(prompts), prompts.counts.used, prompts.counts.images_without) == ("truth", 4, 4, 1)
    del coco.truth["annotations"][0]["bbox"]
    with pytest.raises(DataError, match="annotation 0 is not of COCO's form"):
        truth_boxes(coco.open())


def test_detector_boxes_keep_their_scores_and_order(coco):
    scores = [0.1 + 0.2, 0.9, 1 / 3, 0.9]
    path = coco.detections([box(score=score) for score in scores] + [box(image=2, category=90), box(image=77)])
    prompts = detector_boxes(coco.open(), path)
    assert prompts[0].scores.tolist() == scores
    assert prompts[1].categories.tolist() == [90]
    assert len(prompts[2].boxes) == 0
    assert prompts[2].boxes.shape == (0, 4)
    assert len(prompts.sha256) == 64
    assert prompts.counts.to_dict() == {
        "given": 5, "used": 5, "clipped": 0, "outside": 0, "beyond_top": 0, "elsewhere": 1, "images_without": 2
    }  # fmt: skip
    two = detector_boxes(coco.open(), path, top=2)
    assert two[0].scores.tolist() == [0.9, 0.9]
    assert (two.counts.used, two.counts.beyond_top) == (3, 2)
    assert BOXES_PER_IMAGE == {"vitdet": None, "hqsam": 100}


def test_boxes_over_the_border_are_cut_and_those_without_a_place_left_out(coco):
    boxes = [(-5, -5, 20, 20), (30, 20, 99, 99), (50, 5, 10, 10), (5, 5, 0, 10), (5, 5, -3, 10), (0, 0, 1e400, 5)]
    path = coco.detections([box(bbox=one) for one in [*boxes, (30, 20, 10.01, 10), (0, 0, 40, 30)]])
    prompts = detector_boxes(coco.open(), path)
    assert prompts[0].boxes.tolist() == [[0, 0, 15, 15], [30, 20, 40, 30], [30, 20, 40, 30], [0, 0, 40, 30]]
    assert (prompts.counts.clipped, prompts.counts.outside, prompts.counts.used) == (2, 4, 4)


def test_categories_may_be_counted_from_zero(coco):
    path = coco.detections([box(category=0), box(category=2)])
    with pytest.raises(DataError, match=r"2 boxes have category ids .* lacks: 0, 2.*--box-categories index"):
        detector_boxes(coco.open(), path)
    assert detector_boxes(coco.open(), path, category_ids="index")[0].categories.tolist() == [3, 90]
    with pytest.raises(DataError, match="lacks: 3"):
        detector_boxes(coco.open(), coco.detections([box()]), category_ids="index")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "an empty list; expected a detector's results"),
        ({"annotations": []}, "a JSON dict; expected a detector's results"),
        ([box(), {"image_id": 1}], "entry 1 is not of COCO's form"),
        ([box(bbox=(1, 2, 3))], "entry 0 is not of COCO's form"),
        ([box(), 7], "entry 1 is not of COCO's form"),
        ([box(score=float("nan"))], "1 scores are not finite"),
        ([box(image=77)], "none of its 1 boxes is on an image"),
    ],
)
def test_what_is_no_detections_file_is_told(coco, entries, message):
    with pytest.raises(DataError, match=message):
        detector_boxes(coco.open(), coco.detections(entries))


def test_misuse_of_boxes_is_told(coco):
    path = coco.detections([box()])
    with pytest.raises(UsageError, match="at least 1"):
        detector_boxes(coco.open(), path, top=0)
    with pytest.raises(UsageError, match="dataset or index"):
        detector_boxes(coco.open(), path, category_ids="trainid")
    with pytest.raises(DataError, match="cannot be read"):
        detector_boxes(coco.open(), coco.root / "nowhere.json")


def test_images_come_with_their_prompts_in_order(coco):
    dataset = coco.open()
    prompts = detector_boxes(dataset, coco.detections([box(2), box(1), box(5, 18), box(2)]))
    bad = []
    for workers, ahead in ((1, 1), (3, 4), (2, 100)):
        found = list(prompted_images(dataset, prompts, bad=bad, workers=workers, ahead=ahead))
        assert [one.record.id for one in found] == [1, 2, 5, 8]
        assert [len(one.prompts.boxes) for one in found] == [1, 2, 1, 0]
        assert all(one.image.shape == (one.record.height, one.record.width, 3) for one in found)
    assert len(list(prompted_images(dataset, prompts, bad=bad, limit=2))) == 2
    assert not bad


def test_a_caller_may_stop_early(coco):
    dataset = coco.open()
    images = prompted_images(dataset, truth_boxes(dataset), bad=[])
    assert next(images).record.id == 1
    images.close()


def test_masks_pass_through_run_lengths():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 7), (9, 1), (13, 17), (64, 50)):
        masks = rng.random((5, height, width)) < rng.choice([0, 0.02, 0.5, 1], (5, 1, 1))
        assert np.array_equal(decode_masks(encode_masks(masks), height, width), masks)
    assert decode_masks(encode_masks(np.zeros((0, 4, 5))), 4, 5).shape == (0, 4, 5)


def test_memory_does_not_grow_with_the_images(coco):
    image = coco.truth["images"][0] | {"height": 500, "width": 700}
    coco.truth["images"] = [image | {"id": number} for number in range(1, 41)]
    coco.truth["annotations"] = coco.truth["annotations"][:2]
    Image.new("RGB", (700, 500)).save(coco.images / image["file_name"])
    dataset = coco.open()
    prompts = truth_boxes(dataset)
    tracemalloc.start()
    try:
        for _ in prompted_images(dataset, prompts, bad=[], ahead=2):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * 500 * 700 * 3


@pytest.mark.skipif(not MINI.is_dir(), reason="the photographs are not here")
def test_photographs():
    dataset = find_dataset("coco", MINI)
    assert (len(dataset), dataset.problems(), dataset.absent()) == (60, [], [])
    prompts = truth_boxes(dataset)
    assert (prompts.counts.used, prompts.counts.outside, prompts.counts.images_without) == (630, 0, 0)
    bad = []
    for index, one in enumerate(prompted_images(dataset, prompts, bad=bad, limit=12)):
        masks = dataset.masks(index)
        assert masks.shape == (len(one.prompts.boxes), *one.image.shape[:2])
        for mask, (x0, y0, x1, y1) in zip(masks, one.prompts.boxes, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert np.abs(np.array(tight) - [x0, y0, x1, y1]).max() < 4
    assert not bad
