import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.coco import CocoInstances
from linbench.suites.data.coco_boxes import BOXES_PER_IMAGE, detector_boxes, truth_boxes
from linbench.suites.data.coco_rle import decode_masks
from linbench.suites.data.coco_stream import prompted_images
from linbench.suites.data.datasets import find_dataset
from linbench.suites.metrics import coco_ap
from PIL import Image

MINI = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "coco_mini"
SIZES = {1: (30, 40), 2: (25, 50), 5: (36, 36), 8: (20, 44)}  # height, width


def truth_of_four():
    """Two objects and a crowd in image 1, one object in 2 and 5, none in 8."""
    images = [{"id": i, "file_name": f"{i:012d}.png", "height": h, "width": w} for i, (h, w) in SIZES.items()]
    notes = []
    for image, category, (x, y, w, h) in ((1, 3, (4, 5, 10, 12)), (1, 18, (20, 2, 15, 8)), (2, 3, (0, 0, 50, 25))):
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        notes.append(
            {"image_id": image, "category_id": category, "bbox": [x, y, w, h], "area": w * h, "segmentation": [polygon]}
        )
    disc = np.hypot(*np.mgrid[-18:18, -18:18]) < 9
    (rle,) = encode_masks(disc[None])
    notes.append(
        {"image_id": 5, "category_id": 18, "bbox": [9, 9, 18, 18], "area": int(disc.sum()), "segmentation": rle}
    )
    runs = {"size": [30, 40], "counts": [600, 90, 510]}
    notes.append(
        {"image_id": 1, "category_id": 3, "bbox": [20, 0, 3, 30], "area": 90, "iscrowd": 1, "segmentation": runs}
    )
    return {
        "images": images,
        "annotations": [{"id": number, "iscrowd": 0, **note} for number, note in enumerate(notes, 1)],
        "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}],
    }


class Folder:
    """A data root that holds COCO."""

    def __init__(self, root):
        self.root = root
        self.images = root / "COCO" / "val2017"
        self.json = root / "COCO" / "annotations" / "instances_val2017.json"
        self.images.mkdir(parents=True)
        self.json.parent.mkdir()
        self.truth = truth_of_four()
        rng = np.random.default_rng(0)
        for image in self.truth["images"]:
            pixels = rng.integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.images / image["file_name"])

    def open(self):
        self.json.write_text(json.dumps(self.truth))
        return find_dataset("coco", self.root)

    def detections(self, entries):
        path = self.root / "boxes.json"
        path.write_text(json.dumps(entries))
        return path


@pytest.fixture
def coco(tmp_path):
    return Folder(tmp_path)


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
    with pytest.raises(DataError, match=r"2 boxes have category ids .* lacks: 0, 2.*category_ids='index'"):
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


def absent(coco):
    (coco.images / "000000000002.png").unlink()


def torn(coco):
    path = coco.images / "000000000002.png"
    path.write_bytes(path.read_bytes()[:200])


def other_size(coco):
    Image.new("RGB", (51, 25)).save(coco.images / "000000000002.png")


def turned(coco):
    picture = Image.new("RGB", (50, 25))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(coco.images / "000000000002.png", exif=exif)


def one_pixel(coco):
    Image.new("RGB", (1, 1)).save(coco.images / "000000000002.png")


def rle_of_another_size(coco):
    coco.truth["annotations"][2]["segmentation"] = encode_masks(np.ones((1, 50, 25)))[0]


def crowd_of_another_size(coco):
    coco.truth["annotations"][2] |= {"iscrowd": 1, "segmentation": {"size": [25, 50], "counts": [1, 2]}}


SPOILT = {
    absent: "000000000002.png: no such file",
    torn: "000000000002.png: unreadable",
    other_size: "000000000002.png: 51x25 pixels .*says 50x25",
    turned: "000000000002.png: 25x50 pixels .upright, by EXIF.*says 50x25",
    one_pixel: "000000000002.png: 1x1 pixels",
    rle_of_another_size: r"annotation 3 of 000000000002.png: RLE of size \[50, 25\]",
    crowd_of_another_size: "annotation 3 of 000000000002.png: RLE of 3 pixels",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_bad_image_is_named_and_counted_and_not_scored(coco, spoil):
    spoil(coco)
    dataset = coco.open()
    prompts, bad = truth_boxes(dataset), []
    dataset.fingerprint()
    with pytest.raises(DataError, match=r"1 of 4 images could not be used.*000000000002.*--max-bad 1"):
        list(prompted_images(dataset, prompts, bad=bad))
    bad.clear()
    scored = [one.record.id for one in prompted_images(dataset, prompts, bad=bad, max_bad=1)]
    assert scored == [1, 5, 8]
    with pytest.raises(DataError, match=SPOILT[spoil]):
        raise DataError(*bad)
    results = [
        {"image_id": note["image_id"], "category_id": note["category_id"], "score": 1, "segmentation": rle}
        for note in coco.truth["annotations"]
        if note["image_id"] in scored and not note["iscrowd"]
        for rle in [dataset_rle(dataset, note)]
    ]
    assert coco_ap(coco.json, results, image_ids=scored)["AP"] == pytest.approx(1.0)
    report = check_dataset("coco", coco.root)
    assert "000000000002" in "".join(report.problems)


def dataset_rle(dataset, note):
    index = [record.id for record in dataset.records].index(note["image_id"])
    place = [one["id"] for one in dataset.objects(index)].index(note["id"])
    return encode_masks(dataset.masks(index)[place][None])[0]


def test_all_images_bad_is_an_error_whatever_is_tolerated(coco):
    shutil.rmtree(coco.images)
    coco.images.mkdir()
    dataset = coco.open()
    with pytest.raises(DataError, match="4 of 4 images"):
        list(prompted_images(dataset, truth_boxes(dataset), bad=[], max_bad=9))


def test_unusual_files_are_read(coco):
    size = (50, 25)
    path = coco.images / "000000000002.png"
    turned_back = Image.new("RGB", size[::-1], (9, 8, 7))
    exif = turned_back.getexif()
    exif[0x0112] = 6
    kinds = {
        "P": lambda: Image.new("RGB", size, (9, 8, 7)).quantize().save(path, "png"),
        "L": lambda: Image.new("L", size, 9).save(path, "png"),
        "16-bit": lambda: Image.fromarray(np.full(size[::-1], 9 << 8, np.uint16)).save(path, "png"),
        "CMYK": lambda: Image.new("CMYK", size).save(path, "jpeg"),
        "EXIF": lambda: turned_back.save(path, "png", exif=exif),
    }
    for save in kinds.values():
        save()
        assert coco.open().image(1).shape == (25, 50, 3)


def test_one_pixel_and_huge_images(coco):
    coco.truth["images"][0] |= {"height": 1, "width": 1}
    coco.truth["images"][1] |= {"height": 6000, "width": 9000}
    note = coco.truth["annotations"][2] | {"segmentation": [[0, 0, 9000, 0, 9000, 6000, 0, 6000]]}
    dot = {"id": 9, "image_id": 1, "category_id": 3, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}
    coco.truth["annotations"] = [note, dot | {"segmentation": {"size": [1, 1], "counts": "01"}}]
    Image.new("RGB", (1, 1)).save(coco.images / "000000000001.png")
    Image.new("L", (9000, 6000)).save(coco.images / "000000000002.png", compress_level=1)
    dataset = coco.open()
    assert dataset.masks(0).tolist() == [[[True]]]
    assert dataset.image(1).shape == (6000, 9000, 3)
    assert dataset.masks(1).sum() == 6000 * 9000


def test_check_reports(coco):
    coco.truth["annotations"].append(coco.truth["annotations"][0] | {"id": 7, "image_id": 99})
    coco.truth["annotations"][1]["bbox"] = [50, 2, 15, 8]
    coco.truth["annotations"][2]["segmentation"] = encode_masks(np.zeros((1, 25, 50)))[0]
    (coco.images / "000000000005.png").unlink()
    coco.open()
    report = check_dataset("coco", coco.root)
    text = "\n".join(report.problems)
    for expected in (
        "1 annotations of images that it does not list",
        "1 images of instances_val2017.json are absent: 000000000005.png",
        "1 boxes lie outside",
        "000000000002.png: the mask is empty",
        "000000000005.png: no such file",
        "expected 5000",
    ):
        assert expected in text
    assert (report.found, report.expected) == (2, 5000)
    assert "val2017/*.jpg" in report.tree


def test_check_of_a_test_split_without_annotations(coco):
    del coco.truth["annotations"]
    coco.json.write_text(json.dumps(coco.truth))
    (problem,) = check_dataset("coco", coco.root).problems
    assert "'annotations' is missing" in problem


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


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("cat", "category 'cat' is malformed"),
        ({"name": "cat"}, "category .* has no 'id'"),
        ({"id": 3}, "id 3 is listed twice"),
    ],
)
def test_malformed_categories_are_told(coco, entry, told):
    coco.truth["categories"].append(entry)
    with pytest.raises(DataError, match=told):
        coco.open()
