import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linbench.errors import DataError, UsageError
from linbench.suites.metrics import boundary_band, coco_ap
from linbench.suites.metrics.coco_ap import NO_TRUTH
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
GOLDEN = SHARED / "goldens" / "coco_boundary_ap"
MINI = SHARED / "data" / "coco_mini" / "annotations" / "instances_val2017.json"
STATS = ["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_S", "AR_M", "AR_L"]
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="goldens are not here")


class BoundaryEval(COCOeval):
    """pycocotools' evaluation with the smaller of mask and boundary IoU where the truth is no crowd."""

    def computeIoU(self, imgId, catId):
        ious = super().computeIoU(imgId, catId)
        if not len(ious):
            return ious
        found = sorted(self._dts[imgId, catId], key=lambda one: -one["score"])[: self.params.maxDets[-1]]
        bands = [
            [self._band(api, one) for one in ones]
            for api, ones in ((self.cocoDt, found), (self.cocoGt, self._gts[imgId, catId]))
        ]
        crowd = [one["iscrowd"] for one in self._gts[imgId, catId]]
        return np.where(crowd, ious, np.minimum(ious, coco_mask.iou(*bands, crowd)))

    @staticmethod
    def _band(api, one):
        return coco_mask.encode(np.asfortranarray(boundary_band(api.annToMask(one))))


def oracle(truth, results, *, boundary=False, image_ids=None, max_dets=None):
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = copy.deepcopy(truth)
        expected.createIndex()
        detected = expected.loadRes([{k: v for k, v in one.items() if k != "bbox"} for one in copy.deepcopy(results)])
        evaluation = (BoundaryEval if boundary else COCOeval)(expected, detected, "segm")
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        if max_dets is not None:
            evaluation.params.maxDets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(found, evaluation, max_dets=(1, 10, 100)):
    names = [*STATS[:6], *(f"AR{count}" for count in max_dets), *STATS[9:]]
    assert [found[name] for name in names] == pytest.approx(list(evaluation.stats), abs=1e-9)
    precision = evaluation.eval["precision"][:, :, :, 0, list(max_dets).index(100)]
    for place, category in enumerate(evaluation.params.catIds):
        known = precision[:, :, place][precision[:, :, place] > -1]
        expected = known.mean() if len(known) else -1
        assert found["per_category"][category] == pytest.approx(expected, abs=1e-9)


@needs_golden
@pytest.mark.parametrize("truth", ["gt.json", "gt_all_rle.json"])
@pytest.mark.parametrize("iou_type", ["segm", "boundary"])
def test_golden(truth, iou_type):
    manifest = json.loads((GOLDEN / "manifest.json").read_text())
    found = coco_ap(GOLDEN / truth, GOLDEN / "dt.json", iou_type=iou_type)
    assert [found[name] for name in STATS] == pytest.approx(manifest["stats"][iou_type], abs=1e-9)
    for category, value in manifest["stats"][f"{iou_type}_ap_per_category"].items():
        assert found["per_category"][int(category)] == pytest.approx(value, abs=1e-9)
    assert (found["images"], found["objects"], found["crowds"], found["detections"]) == (20, 62, 3, 204)


@needs_golden
@pytest.mark.parametrize("boundary", [False, True])
def test_more_detections_and_fewer_images(boundary):
    truth, results = (json.loads((GOLDEN / name).read_text()) for name in ("gt.json", "dt.json"))
    iou_type = "boundary" if boundary else "segm"
    most = coco_ap(truth, results, iou_type=iou_type, max_dets=(100, 300, 1000))
    assert_equal(most, oracle(truth, results, boundary=boundary, max_dets=[100, 300, 1000]), (100, 300, 1000))
    some = sorted(image["id"] for image in truth["images"])[::3]
    assert_equal(
        coco_ap(truth, results, iou_type=iou_type, image_ids=some),
        oracle(truth, results, boundary=boundary, image_ids=some),
    )


def encoded(mask):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def box_mask(rng, height, width):
    mask = np.zeros((height, width), bool)
    y, x = rng.integers(0, height), rng.integers(0, width)
    mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    if rng.random() < 0.5:
        mask &= rng.random((height, width)) < 0.9
    return mask


def random_case(seed):
    rng = np.random.default_rng(seed)
    categories = [3, 7, 90]
    images, annotations, results = [], [], []
    for image_id in (11, 5, 2):
        height, width = (int(side) for side in np.exp(rng.uniform(0, 5, 2)))
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": height, "width": width})
        for _ in range(rng.integers(0, 5)):
            mask = box_mask(rng, height, width)
            crowd = int(rng.random() < 0.2)
            form = rng.integers(3)
            segmentation = encoded(mask)
            if crowd:
                flat = mask.ravel(order="F")
                cuts = np.flatnonzero(np.diff(flat.astype(int))) + 1
                counts = np.diff([0, *cuts, len(flat)]).tolist()
                segmentation = {"size": [height, width], "counts": [0, *counts] if flat[0] else counts}
            elif form == 0:
                corners = rng.uniform(-3, 1.1 * max(height, width), (rng.integers(3, 7), 2)).round(2)
                segmentation = [corners.ravel().tolist(), corners[::-1].ravel().tolist()]
            area = float(rng.choice([mask.sum(), 1024, 9216, 100]))
            note = {"image_id": image_id, "category_id": int(rng.choice(categories[:2])), "area": area}
            annotations.append({"id": len(annotations) + 1, "iscrowd": crowd, "segmentation": segmentation, **note})
            for _ in range(rng.integers(0, 4)):
                guess = mask ^ (rng.random(mask.shape) < rng.choice([0, 0.01, 0.2]))
                if rng.random() < 0.3:
                    guess = np.roll(guess, rng.integers(-3, 4), 1)
                wrong = rng.random() < 0.1
                category = int(rng.choice(categories)) if wrong else note["category_id"]
                score = float(rng.choice([0.1, 0.5, 0.9, rng.random()]))
                results.append(
                    {"image_id": image_id, "category_id": category, "score": score, "segmentation": encoded(guess)}
                )
    rng.shuffle(results)
    names = [{"id": category, "name": f"c{category}"} for category in categories]
    return {"images": images, "annotations": annotations, "categories": names}, results


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_equal_to_pycocotools_on_random_data(seed):
    truth, results = random_case(seed)
    if not results or all(note["iscrowd"] for note in truth["annotations"]):
        return
    kept = copy.deepcopy((truth, results))
    assert_equal(coco_ap(truth, results), oracle(truth, results))
    assert_equal(coco_ap(truth, results, iou_type="boundary"), oracle(truth, results, boundary=True))
    assert (truth, results) == kept


@pytest.mark.skipif(not MINI.is_file(), reason="the photographs are not here")
def test_equal_to_pycocotools_on_real_annotations():
    truth = json.loads(MINI.read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(MINI))
    rng = np.random.default_rng(0)
    results = []
    for note in truth["annotations"]:
        if note["image_id"] % 3 == 0 and rng.random() < 0.9:
            mask = np.roll(api.annToMask(note), rng.integers(-3, 4), 1)
            result = {"image_id": note["image_id"], "category_id": note["category_id"], "bbox": [0, 0, 5, 5]}
            results.append({**result, "score": round(rng.random(), 2), "segmentation": encoded(mask)})
    truth.setdefault("info", {})
    found = coco_ap(MINI, results)
    assert 0.1 < found["AP"] < 0.9
    assert_equal(found, oracle(truth, results))
    assert_equal(coco_ap(MINI, results, iou_type="boundary"), oracle(truth, results, boundary=True))


@pytest.fixture
def case():
    mask = np.zeros((40, 60), bool)
    mask[5:25, 10:50] = True
    other = np.zeros((30, 30), bool)
    other[3:9, 3:9] = True
    truth = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60},
            {"id": 2, "file_name": "b.jpg", "height": 30, "width": 30},
        ],
        "categories": [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 0, "image_id": 1, "category_id": 4, "iscrowd": 0, "area": 800, "segmentation": encoded(mask)},
            {"id": 0, "image_id": 2, "category_id": 4, "area": 36, "segmentation": encoded(other)},
        ],
    }
    results = [
        {"image_id": 1, "category_id": 4, "score": 0.9, "segmentation": encoded(mask)},
        {"image_id": 2, "category_id": 4, "score": 0.8, "segmentation": encoded(other)},
    ]
    return truth, results


def test_perfect_results_whatever_their_ids(case):
    found = coco_ap(*case)
    assert found["AP"] == found["AP_S"] == found["AR1"] == pytest.approx(1.0)
    assert found["AP_L"] == found["per_category"][9] == NO_TRUTH


def test_a_box_in_the_results_changes_nothing(case):
    truth, results = case
    plain = coco_ap(truth, results)
    boxed = [{**one, "bbox": [0, 0, 60, 40]} for one in results]
    assert coco_ap(truth, boxed) == plain
    numpy_numbers = [{**one, "score": np.float32(0.5), "image_id": np.int64(one["image_id"])} for one in results]
    assert coco_ap(truth, numpy_numbers) == plain


def test_an_area_of_nothing_is_the_masks(case):
    wanted = coco_ap(*case)
    case[0]["annotations"][1]["area"] = None
    assert coco_ap(*case) == wanted


def test_an_area_that_is_not_stated_is_the_masks(case):
    truth, results = case
    found = coco_ap(truth, results)
    for note in truth["annotations"]:
        del note["area"]
    assert coco_ap(truth, results) == found


def test_empty_masks_and_images_without_results_are_misses(case):
    truth, results = case
    results[1]["segmentation"] = encoded(np.zeros((30, 30)))
    assert coco_ap(truth, results, image_ids=[2])["AP"] == 0.0
    assert coco_ap(truth, results[:1], image_ids=[2])["AP"] == 0.0
    assert coco_ap(truth, results[:1], image_ids=[1])["AP"] == pytest.approx(1.0)


def test_files(case, tmp_path):
    for name, content in zip(("truth.json", "results.json"), case, strict=True):
        (tmp_path / name).write_text(json.dumps(content))
    assert coco_ap(str(tmp_path / "truth.json"), tmp_path / "results.json") == coco_ap(*case)
    (tmp_path / "torn.json").write_text(json.dumps(case[1])[:-9])
    with pytest.raises(DataError, match=r"torn\.json: no JSON"):
        coco_ap(tmp_path / "truth.json", tmp_path / "torn.json")
    with pytest.raises(DataError, match=r"nowhere\.json: cannot be read"):
        coco_ap(tmp_path / "nowhere.json", tmp_path / "results.json")


def misfit(**change):
    return lambda results: results[1].update(change)


BAD_RESULTS = {
    "unknown image": (misfit(image_id=77), r"1 of 2 \(entry 1: unknown image: id 77"),
    "odd image": (misfit(image_id=[1]), "unknown image"),
    "unknown category": (misfit(category_id=0), "unknown category: id 0, known are 4..9"),
    "other size": (misfit(segmentation=encoded(np.ones((30, 31)))), r"image 2 \(b.jpg\): RLE of size \[30, 31\]"),
    "too few pixels": (
        misfit(segmentation={"size": [30, 30], "counts": "PP1"}),
        "RLE of .* pixels for an image of 30x30",
    ),
    "too long": (
        misfit(segmentation={"size": [30, 30], "counts": encoded(np.ones((99, 99)))["counts"]}),
        "RLE of 9801",
    ),
    "no text": (misfit(segmentation={"size": [30, 30], "counts": "hello world"}), "no COCO text"),
    "a number": (misfit(segmentation=5), "expected polygons or an RLE"),
    "score": (misfit(score=float("nan")), "bad score: nan"),
    "huge score": (misfit(score=10**400), "bad score: 1000"),
    "only boxes": (lambda results: results[1].pop("segmentation"), "no mask: only a box"),
    "no score": (lambda results: results[1].pop("score"), "no result: .*expected image_id"),
}


@pytest.mark.parametrize("kind", BAD_RESULTS)
def test_bad_results_are_told(case, kind):
    spoil, message = BAD_RESULTS[kind]
    spoil(case[1])
    with pytest.raises(DataError, match=message):
        coco_ap(*case)


def test_what_is_no_results_list_is_told(case):
    truth, _ = case
    with pytest.raises(DataError, match="holds no results"):
        coco_ap(truth, [])
    with pytest.raises(DataError, match="expected COCO results, a list"):
        coco_ap(truth, truth)
    with pytest.raises(DataError, match="no result"):
        coco_ap(truth, [5])


BAD_TRUTH = {
    "no annotations": (lambda truth: truth.pop("annotations"), "'annotations' is missing.*image_info"),
    "no categories": (lambda truth: truth.update(categories=[]), "'categories' is an empty list"),
    "no images": (lambda truth: truth.update(images=[]), "'images' is an empty list"),
    "nothing to find": (lambda truth: truth.update(annotations=[]), "no object in the 2 images"),
    "twice": (lambda truth: truth["images"][1].update(id=1), "image id 1 is listed twice"),
    "unsized": (lambda truth: truth["images"][1].pop("height"), "has no 'height'"),
    "stranger": (lambda truth: truth["annotations"][0].update(category_id=5), "1 annotations have category ids .*: 5"),
    "no mask": (lambda truth: truth["annotations"][0].update(segmentation=[]), "annotation 0 of image 1 .*empty list"),
    "other size": (
        lambda truth: truth["annotations"][0].update(segmentation=encoded(np.ones((60, 40)))),
        r"annotation 0 of image 1 \(a.jpg\): RLE of size \[60, 40\]",
    ),
    "odd polygon": (lambda truth: truth["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5]]), "x, y, x, y"),
    "a polygon from afar": (
        # pycocotools walks along every edge: on such a one it takes all memory, or crashes.
        lambda truth: truth["annotations"][0].update(segmentation=[[1, 2, 1e300, 4, 5, 6]]),
        "annotation 0 of image 1 .*beyond 65536",
    ),
    "area": (lambda truth: truth["annotations"][0].update(area="big"), "annotation 0 of image 1 .*bad area: 'big'"),
    "half an id": (lambda truth: truth["images"][0].update(id=1.5), r"image .* is malformed \(1.5 is no whole number"),
    "no id at all": (lambda truth: truth["images"][0].update(id=float("inf")), "image .* is malformed"),
    "no name": (lambda truth: truth["images"][0].update(file_name=7), "image .* is malformed .*no file name"),
    "endless run": (
        lambda truth: truth["annotations"][0].update(segmentation={"size": [40, 60], "counts": [2**70]}),
        "a run longer than an image of 60x40",
    ),
    "a size of one number": (
        lambda truth: truth["annotations"][0].update(segmentation={"size": 40, "counts": [2400]}),
        "RLE of size 40 for an image of",
    ),
    "runs": (
        lambda truth: truth["annotations"][0].update(segmentation={"size": [40, 60], "counts": [5, 5]}),
        "RLE of 10 pixels",
    ),
}


@pytest.mark.parametrize("kind", BAD_TRUTH)
def test_bad_truth_is_told(case, kind):
    spoil, message = BAD_TRUTH[kind]
    spoil(case[0])
    with pytest.raises(DataError, match=message):
        coco_ap(*case)


def test_annotations_of_other_images_are_left_out(case):
    truth, results = case
    truth["annotations"].append({**truth["annotations"][0], "id": 8, "image_id": 99})
    assert coco_ap(truth, results)["objects"] == 2


def test_ids_that_were_written_as_floats(case):
    truth, results = case
    wanted = coco_ap(truth, results)
    floats = [{**entry, "image_id": float(entry["image_id"]), "category_id": np.float64(4)} for entry in results]
    assert coco_ap(truth, floats) == wanted
    with pytest.raises(DataError, match=r"unknown image: id 1\.5"):
        coco_ap(truth, [{**results[0], "image_id": 1.5}])


def test_misuse_is_told(case):
    with pytest.raises(UsageError, match="expected segm or boundary"):
        coco_ap(*case, iou_type="bbox")
    with pytest.raises(UsageError, match="ascending"):
        coco_ap(*case, max_dets=(100, 10))
    for ids in ([], [1, 77]):
        with pytest.raises(UsageError, match="image_ids"):
            coco_ap(*case, image_ids=ids)
    case[0]["images"][0]["neg_category_ids"] = []
    with pytest.raises(UsageError, match="LVIS"):
        coco_ap(*case)


def test_boundaries_in_an_image_narrower_than_its_band(case):
    truth, results = case
    truth["images"][0] |= {"height": 3, "width": 128}
    mask = np.zeros((3, 128), bool)
    mask[:, 30:90] = True
    truth["annotations"][0]["segmentation"] = encoded(mask)
    results[0]["segmentation"] = encoded(np.roll(mask, 6, 1))
    found = coco_ap(truth, results, iou_type="boundary", image_ids=[1])
    assert found["AP"] == pytest.approx(coco_ap(truth, results, image_ids=[1])["AP"])  # the band is the whole mask
    assert 0.1 < found["AP"] < 0.9
