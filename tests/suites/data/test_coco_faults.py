"""COCO with images and annotations that are no good, unusual or malformed; what a check says of it."""

import json
import shutil

import numpy as np
import pytest
from linbench.errors import DataError
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.coco_boxes import truth_boxes
from linbench.suites.data.coco_stream import prompted_images
from linbench.suites.metrics import coco_ap
from PIL import Image


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
