import json
import shutil

import numpy as np
import pytest
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.coco_boxes import detector_boxes, truth_boxes
from linbench.suites.data.coco_json import is_crowd
from linbench.suites.data.coco_results import results_writer
from linbench.suites.data.coco_stream import prompted_images
from linbench.suites.data.datasets import find_dataset
from linbench.suites.data.demo.coco import (
    COCO_DETECTIONS,
    COCO_FOLDERS,
    COCO_INSTANCES,
    coco_json,
    coco_scene,
    outline_polygons,
    write_coco_item,
)
from linbench.suites.metrics import coco_ap


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Twelve images of the demo set, and the notes on them."""
    root = tmp_path_factory.mktemp("coco")
    for folder in COCO_FOLDERS:
        (root / folder).mkdir(parents=True)
    notes = [write_coco_item(root, 0, index)[1] for index in range(12)]
    for file, data in coco_json(notes).items():
        (root / file).write_bytes(data)
    return root


def test_every_form_of_annotation_occurs(twelve):
    data = json.loads((twelve / COCO_INSTANCES).read_text())
    notes = data["annotations"]
    crowds = [note for note in notes if is_crowd(note)]
    plain = [note for note in notes if not is_crowd(note)]
    assert len(crowds) == 3
    assert all(isinstance(note["segmentation"]["counts"], list) for note in crowds)
    assert {type(note["segmentation"]) for note in plain} == {list, dict}
    assert len({note["category_id"] for note in plain}) > 15
    assert [note["id"] for note in notes] == list(range(1, len(notes) + 1))
    assert any(note["area"] < 32**2 for note in plain)
    assert any(note["area"] > 96**2 for note in plain)
    empty = {image["id"] for image in data["images"]} - {note["image_id"] for note in notes}
    assert len(empty) == 1


def test_masks_are_exactly_what_was_drawn(twelve):
    dataset = find_dataset("coco", twelve)
    overlapping = 0
    for index in range(0, 12, 3):
        scene, crowd = coco_scene(0, index)
        alone = len(scene.families) - crowd
        drawn = np.array([scene.labels == number for number in range(1, alone + 1)])
        masks = dataset.masks(index)
        assert np.array_equal(masks, drawn.reshape(masks.shape))
        notes = dataset.objects(index)
        assert [note["area"] for note in notes] == masks.sum((1, 2)).tolist()
        boxes = np.array([note["bbox"] for note in notes]).reshape(-1, 4)
        corners = boxes[:, :2] + boxes[:, 2:]
        meet = np.minimum(corners[:, None], corners) > np.maximum(boxes[:, None, :2], boxes[:, :2])
        overlapping += int(meet.all(2).sum() - len(boxes)) // 2
    assert overlapping > 10


def test_outlines_rasterise_to_the_mask_or_are_refused():
    rng = np.random.default_rng(0)
    made = 0
    for _ in range(60):
        mask = np.zeros((24, 31), bool)
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, 20, 2)
            mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
        made += outline_polygons(mask) is not None  # it compares the raster itself
    assert made > 30
    holed = np.ones((9, 9), bool)
    holed[4, 4] = False
    assert outline_polygons(holed) is None


def test_the_detector_is_often_right(twelve):
    dataset = find_dataset("coco", twelve)
    prompts = detector_boxes(dataset, twelve / COCO_DETECTIONS)
    truth = truth_boxes(dataset)
    assert prompts.counts.outside == prompts.counts.elsewhere == 0
    hits = found = 0
    for index in range(len(dataset)):
        for box, category in zip(truth[index].boxes, truth[index].categories, strict=True):
            meet = np.minimum(box[2:], prompts[index].boxes[:, 2:]) - np.maximum(box[:2], prompts[index].boxes[:, :2])
            shared = meet.clip(0).prod(1)
            areas = (prompts[index].boxes[:, 2:] - prompts[index].boxes[:, :2]).prod(1)
            near = shared / (areas + (box[2:] - box[:2]).prod() - shared) > 0.7
            found += bool(near.any())
            hits += bool((near & (prompts[index].categories == category)).any())
    assert 0.6 < hits / truth.counts.used < found / truth.counts.used < 1
    scores = np.concatenate([prompts[index].scores for index in range(len(dataset))])
    assert scores.min() >= 0.05
    assert scores.max() <= 1
    assert len(np.unique(scores)) > 0.8 * len(scores)


def test_a_whole_evaluation_with_the_true_masks(twelve, tmp_path):
    dataset = find_dataset("coco", twelve)
    bad = []
    with results_writer(tmp_path / "r.json") as writer:
        for index, one in enumerate(prompted_images(dataset, truth_boxes(dataset), bad=bad)):
            writer.add(one.record, dataset.masks(index), one.prompts.scores, one.prompts.categories)
    for iou_type in ("segm", "boundary"):
        found = coco_ap(twelve / COCO_INSTANCES, tmp_path / "r.json", iou_type=iou_type)
        assert found["AP"] == found["AP_S"] == found["AP_L"] == pytest.approx(1.0)
        assert found["crowds"] == 3


def test_drawing_does_not_depend_on_company(twelve, tmp_path):
    for folder in COCO_FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    (file,), note = write_coco_item(tmp_path, 0, 5)
    assert (tmp_path / file).read_bytes() == (twelve / file).read_bytes()
    detections = json.loads((twelve / COCO_DETECTIONS).read_text())
    assert note["detections"] == [one for one in detections if one["image_id"] == note["image"]["id"]]
    assert write_coco_item(tmp_path, 1, 5)[1] != note


def test_the_demo_root_holds_it(demo, tmp_path):
    report = check_dataset("coco", demo)
    assert report.ok, report.problems
    assert (report.found, report.expected, report.demo) == (3, 3, True)
    manifest = json.loads((demo / "manifest.json").read_text())
    assert {COCO_INSTANCES, COCO_DETECTIONS} <= set(manifest["files"])
    copy = tmp_path / "demo"
    shutil.copytree(demo, copy)
    next((copy / "COCO" / "val2017").iterdir()).unlink()
    assert "1 images of instances_val2017.json are absent" in check_dataset("coco", copy).problems[0]
