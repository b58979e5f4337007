"""EntitySeg and SA-1B in their own layouts, and what a check says of broken ones."""

import json

import numpy as np
import pytest
from layouts_for_tests import HEIGHT, WIDTH, photo, rectangle
from linbench.errors import DataError
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data import entityseg
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.datasets import find_dataset
from linbench.suites.data.masks import pack_layers
from linbench.suites.data.sa1b import LEAST_SHARE, MOST_MASKS, SegmentAnything1B


def test_entityseg_leaves_out_what_cannot_be_used_and_counts_it(entity):
    dataset = find_dataset("entityseg", entity)
    assert dataset.items == ("entity_01_11580/a", "entity_02_11598/a")
    assert dataset.left_out == {
        "missing": ["gone.jpg", "void.jpg"],
        "without an object": ["none.jpg"],
        "too small": ["tiny.jpg"],
    }
    assert np.array_equal(dataset.masks(0)[1], rectangle(24, 8, 40, 50))
    assert dataset.masks(0)[0].sum() == 16 * 26
    assert np.array_equal(dataset.layers(0), pack_layers(dataset.masks(0)))
    assert dataset.image(1).shape == (HEIGHT, WIDTH, 3)
    report = check_dataset("entityseg", entity)
    text = "\n".join(report.problems)
    for words in ("2 images missing: gone.jpg, void.jpg", "1 images without an object", "1 images too small", "31913"):
        assert words in text
    assert report.found == 2


def test_entityseg_is_found_under_the_names_in_use(entity, monkeypatch):
    data = entity / "EntitySeg"
    wanted = find_dataset("entityseg", entity).fingerprint()
    (data / "annotations").mkdir()
    (data / "entityseg_train_lr.json").rename(data / "annotations" / "entityseg_train_lr.json")
    for path in (data / "images_lr").iterdir():
        path.rename(data / path.name)
    (data / "images_lr").rmdir()
    data.rename(entity / "entity_lr")
    assert find_dataset("entityseg", entity).fingerprint() == wanted
    assert find_dataset("entityseg", entity.parent).fingerprint() == wanted
    monkeypatch.setattr(entityseg, "MOST_MASKS", 1)
    assert len(find_dataset("entityseg", entity).masks(0)) == 1


def test_entityseg_without_images_says_where_it_looked(entity):
    for path in (entity / "EntitySeg" / "images_lr").glob("entity_*/*"):
        path.unlink()
    with pytest.raises(DataError, match=r"no image of .*entityseg_train_lr\.json can be used \(4 missing"):
        find_dataset("entityseg", entity)
    (entity / "EntitySeg" / "entityseg_train_lr.json").unlink()
    with pytest.raises(DataError, match=r"entityseg_train_lr\.json is missing"):
        find_dataset("entityseg", entity)


def write_sa1b(folder, number, masks):
    photo(folder / f"sa_{number}.jpg", number)
    notes = [
        {
            "id": place,
            "segmentation": rle,
            "area": int(mask.sum()),
            "bbox": [0, 0, 5, 5],
            "predicted_iou": 0.9,
            "point_coords": [[1, 1]],
        }
        for place, (mask, rle) in enumerate(zip(masks, encode_masks(np.stack(masks)), strict=True))
    ]
    data = {"image": {"image_id": number, "height": HEIGHT, "width": WIDTH}, "annotations": notes}
    (folder / f"sa_{number}.json").write_text(json.dumps(data))


@pytest.fixture
def sa1b(tmp_path):
    root = tmp_path / "SA-1B"
    nested = [rectangle(0, 0, 10 + place, 40) for place in range(MOST_MASKS + 4)]
    small = rectangle(40, 0, 47, 6)
    assert small.sum() < LEAST_SHARE * HEIGHT * WIDTH
    write_sa1b(root / "sa_000000", 11, [small, rectangle(4, 4, 30, 30), rectangle(8, 8, 20, 60)])
    write_sa1b(root / "sa_000000", 2, nested)
    write_sa1b(root / "sa_000012", 9, [rectangle(4, 4, 30, 30)])
    return tmp_path


def test_sa1b_masks_come_largest_first_few_and_large_enough(sa1b):
    dataset = find_dataset("sa-1b", sa1b)
    assert dataset.items == ("sa_000000/sa_2", "sa_000000/sa_11")
    assert [int(mask.sum()) for mask in dataset.masks(0)] == [40 * (10 + place) for place in range(33, 3, -1)]
    assert [int(mask.sum()) for mask in dataset.masks(1)] == [26 * 26, 12 * 52]
    assert dataset.layers(1).shape == (2, HEIGHT, WIDTH)
    assert len(SegmentAnything1B(sa1b / "SA-1B")) == 3


def test_sa1b_check_names_folders_and_annotations_that_are_missing(sa1b):
    lost = sa1b / "SA-1B" / "sa_000000" / "sa_2.json"
    lost.unlink()
    report = check_dataset("sa-1b", sa1b)
    text = "\n".join(report.problems)
    for words in ("folders are missing: sa_000001", "1 images have no annotations", "sa_2.json", "111860"):
        assert words in text
    assert report.found == 1
    lost.write_text('{"image": {}, "annotations": []}')
    with pytest.raises(DataError, match=r"sa_2\.json: no annotations of SA-1B"):
        find_dataset("sa-1b", sa1b).masks(0)
    with pytest.raises(DataError, match="no image under"):
        SegmentAnything1B(sa1b)


def test_sa1b_runs_of_another_size_are_told(sa1b):
    path = sa1b / "SA-1B" / "sa_000000" / "sa_11.json"
    data = json.loads(path.read_text())
    data["annotations"][1]["segmentation"]["size"] = [WIDTH, HEIGHT]
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"sa_11\.json.*annotation 1: RLE of size"):
        find_dataset("sa-1b", sa1b).masks(1)
