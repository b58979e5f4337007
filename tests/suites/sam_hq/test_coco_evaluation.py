"""The suite on COCO: box prompts in, a results file and its AP out."""

import contextlib
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from linbench import create_system
from linbench.errors import DataError, UsageError
from linbench.results.store import Store
from linbench.suites.data.coco import CocoInstances
from linbench.suites.data.coco_boxes import detector_boxes, truth_boxes
from linbench.suites.data.protocols import get_protocol
from linbench.suites.sam_hq import SUITE, SamHqOptions
from linbench.suites.sam_hq.coco import evaluate_coco
from linbench.suites.sam_hq.network import BoxFiller, Network
from linbench.suites.sam_hq.sets import choose_sets
from linbench.suites.sam_hq.suite import subject_label, system_name
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = (96, 128)


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return create_system("rwkvsam-t", weights="demo").eval()


@pytest.fixture
def root(tmp_path):
    """Five images of two rectangles each, one of them of another category, in COCO's layout."""
    folder = tmp_path / "data" / "COCO"
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    height, width = SIDES
    images, notes = [], []
    for number in range(1, 6):
        picture = np.full((height, width, 3), 30, np.uint8)
        for which, (x, y, w, h) in enumerate([(8 + number, 10, 40, 30), (70, 40 + number, 30, 44)]):
            cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (200, 90 * which, 40 * number), -1)
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            notes.append(
                {
                    "id": 10 * number + which,
                    "image_id": number,
                    "category_id": (1, 18)[which],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [outline],
                }
            )
        cv2.imwrite(str(folder / "val2017" / f"{number:012d}.png"), picture)
        images.append({"id": number, "file_name": f"{number:012d}.png", "height": height, "width": width})
    truth = {
        "images": images,
        "annotations": notes,
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(truth))
    return folder.parent


@pytest.fixture
def dataset(root):
    return CocoInstances(root / "COCO/annotations/instances_val2017.json", root / "COCO/val2017", "COCO")


def test_filled_boxes_of_rectangles_are_perfect(dataset, tmp_path):
    found = evaluate_coco(BoxFiller(), dataset, truth_boxes(dataset), frame=64, results=tmp_path / "r.json")
    assert found.metrics["map"] == pytest.approx(100)
    assert found.metrics["mbap"] == pytest.approx(100)
    assert (found.metrics["images"], found.metrics["masks"]) == (5, 10)


def test_the_results_file_is_pycocotools_own_and_gives_the_same_ap(system, dataset, tmp_path):
    network = Network(system, get_protocol("rwkvsam"), device="cpu")
    found = evaluate_coco(network, dataset, truth_boxes(dataset), frame=128, results=tmp_path / "r.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(dataset.json))
        truth.dataset.setdefault("info", {})
        other = COCOeval(truth, truth.loadRes(str(tmp_path / "r.json")), "segm")
        other.evaluate()
        other.accumulate()
        other.summarize()
    assert found.metrics["map"] == pytest.approx(100 * other.stats[0], abs=1e-9)
    assert 20 < found.metrics["map"] <= 100
    entries = json.loads((tmp_path / "r.json").read_text())
    assert {entry["category_id"] for entry in entries} == {1, 18}
    assert all(entry["segmentation"]["size"] == [*SIDES] and "bbox" not in entry for entry in entries)


def test_the_protocol_of_the_mask_sets_does_not_change_coco(system, dataset, tmp_path):
    found = []
    for protocol in ("rwkvsam", "hqsam"):
        network = Network(system, get_protocol(protocol), device="cpu")
        results = tmp_path / f"{protocol}.json"
        found.append(evaluate_coco(network, dataset, truth_boxes(dataset), frame=128, results=results).metrics)
    assert found[0] == found[1]


@pytest.mark.parametrize(("batch", "workers"), [(1, 4), (3, 0), (2, 2)])
def test_workers_and_batches_do_not_change_the_answer(system, dataset, tmp_path, batch, workers):
    found = []
    for size, threads in ((1, 0), (batch, workers)):
        network = Network(system, get_protocol("rwkvsam"), device="cpu", batch=size)
        results = tmp_path / f"{size}-{threads}.json"
        scores = evaluate_coco(network, dataset, truth_boxes(dataset), frame=64, results=results, workers=threads)
        found.append(scores.metrics)
    assert found[0] == pytest.approx(found[1], abs=0.1)


def test_an_image_that_is_gone_is_named_and_not_scored_as_a_miss(dataset, root, tmp_path):
    (root / "COCO/val2017/000000000003.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 5 images.*000000000003.png.*--max-bad 1"):
        evaluate_coco(BoxFiller(), dataset, truth_boxes(dataset), frame=64, results=tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()
    found = evaluate_coco(BoxFiller(), dataset, truth_boxes(dataset), frame=64, results=tmp_path / "r.json", max_bad=1)
    assert found.metrics["map"] == pytest.approx(100)
    assert len(found.bad) == 1


def test_a_detectors_scores_and_categories_are_kept(dataset, tmp_path):
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": [9, 10, 40, 30], "score": 0.123456789},
        {"image_id": 1, "category_id": 18, "bbox": [60, 40, 300, 44], "score": 0.5},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    prompts = detector_boxes(dataset, tmp_path / "boxes.json")
    evaluate_coco(BoxFiller(), dataset, prompts, frame=64, results=tmp_path / "r.json")
    entries = json.loads((tmp_path / "r.json").read_text())
    assert [(entry["score"], entry["category_id"]) for entry in entries] == [(0.123456789, 1), (0.5, 18)]


def test_rows_of_the_suite(root, tmp_path):
    options = SamHqOptions(
        ("rwkvsam-t",), weights="demo", data=root, datasets=("coco",), boxes="truth", frame=64, cache=tmp_path
    )
    box, row = SUITE.run(options, store=Store(tmp_path / "results"))
    assert box.metrics["COCO/map"] == pytest.approx(100)
    assert row.status == "ok"
    assert {"COCO/map", "COCO/mbap"} <= set(row.metrics)
    assert row.provenance["run"]["boxes"]["used"] == 10
    assert (tmp_path / "predictions" / row.provenance["run"]["coco_results"]).is_file()
    assert row.cell.params["boxes"] == "truth"


def test_real_coco_without_boxes_is_refused(root, tmp_path):
    options = SamHqOptions(("rwkvsam-t",), weights="demo", data=root, datasets=("coco",), cache=tmp_path)
    with pytest.raises(UsageError, match=r"COCO needs box prompts: give --boxes FILE"):
        SUITE.plan(options)
    assert replace(options, datasets=None).evaluation_sets == ("dis-vd", "coift", "hrsod")
    assert replace(options, datasets=None, data=None).evaluation_sets[0] == "coco"


def test_a_detector_may_count_categories_from_zero(root, tmp_path):
    boxes = [
        {"image_id": 1, "category_id": 0, "bbox": [9, 10, 40, 30], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [70, 41, 30, 44], "score": 0.5},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    options = SamHqOptions(
        ("rwkvsam-t",), weights="demo", data=root, datasets=("coco",), boxes=f"{tmp_path}/boxes.json", cache=tmp_path
    )
    with pytest.raises(DataError, match=r"lacks: 0; .*--box-categories index"):
        SUITE.plan(options)
    box, _ = SUITE.plan(replace(options, box_categories="index"))
    assert box.params["box_categories"] == "index"
    _, prompts = choose_sets(replace(options, box_categories="index")).coco
    assert prompts[0].categories.tolist() == [1, 18]
    with pytest.raises(UsageError, match="--box-categories is 'names'"):
        replace(options, box_categories="names")


def test_names_of_subjects():
    assert [system_name(name) for name in ("rwkvsam-t", "vit-s", "efficientsam-s")] == [
        "rwkvsam-t",
        "vit-s+sam",
        "efficientsam-s+sam",
    ]
    systems = ["rwkvsam-t", "vit-s+sam", "efficientsam-s+sam", "efficientsam-s", "sam-vit-b", "timm:resnet18+sam"]
    labels = ["rwkvsam-t", "vit-s", "efficientsam-s+sam", "efficientsam-s", "sam-vit-b", "timm:resnet18"]
    assert [subject_label(name) for name in systems] == labels


def test_an_empty_true_mask_is_told(root, tmp_path):
    path = root / "COCO/annotations/instances_val2017.json"
    truth = json.loads(path.read_text())
    truth["annotations"][3]["segmentation"] = {"size": [*SIDES], "counts": [SIDES[0] * SIDES[1]]}
    path.write_text(json.dumps(truth))
    options = SamHqOptions(
        ("rwkvsam-t",), weights="demo", data=root, datasets=("coco",), boxes="truth", frame=64, cache=tmp_path
    )
    box = next(iter(SUITE.run(options, store=Store(tmp_path / "results"))))
    assert box.provenance["run"]["empty_masks"] == {"COCO": ["annotation 21 of 000000000002.png"]}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"datasets": ("coco",), "boxes": "truth", "boxes_per_image": 10}, "--boxes-per-image chooses by a detector's"),
        ({"datasets": ("dis-vd",), "boxes": "truth"}, "COCO, which is not among the sets"),
        ({"masks": (("A", "a"),), "boxes_per_image": 10}, "COCO, which is not among the sets"),
    ],
)
def test_box_options_that_would_do_nothing_are_refused(options, told):
    with pytest.raises(UsageError, match=told):
        SamHqOptions(("rwkvsam-t",), weights="demo", **options)


def test_a_large_image_is_answered_a_few_prompts_at_a_time(system, dataset, tmp_path, monkeypatch):
    whole = evaluate_coco(
        Network(system, get_protocol("rwkvsam"), device="cpu"),
        dataset,
        truth_boxes(dataset),
        frame=128,
        results=tmp_path / "whole.json",
    )
    asked = []
    monkeypatch.setattr("linbench.suites.sam_hq.network.PIXELS", SIDES[0] * SIDES[1])
    protocol = get_protocol("rwkvsam")
    restore = type(protocol).restore
    monkeypatch.setattr(type(protocol), "restore", lambda *given: asked.append(len(given[1])) or restore(*given))
    network = Network(system, protocol, device="cpu")
    parts = evaluate_coco(network, dataset, truth_boxes(dataset), frame=128, results=tmp_path / "parts.json")
    assert asked == [1] * 10
    assert parts.metrics == pytest.approx(whole.metrics, abs=0.1)


def test_a_wrong_name_of_a_set_is_told_before_demo_data_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("linbench.suites.sam_hq.sets.build_demo", lambda *_, **__: pytest.fail("drawn"))
    options = SamHqOptions(("rwkvsam-t",), weights="demo", datasets=("coco", "dis-dv"), cache=tmp_path)
    with pytest.raises(UsageError, match="dis-dv"):
        SUITE.plan(options)
