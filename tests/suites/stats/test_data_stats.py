"""Counts of training sets in their own layouts: as annotated, and as read."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.results.store import Store
from linbench.suites.data.datasets import find_dataset
from linbench.suites.data.demo.entityseg import build_entityseg
from linbench.suites.stats import DATA_STATS, DataStatsOptions, data_stats

HEIGHT, WIDTH = 40, 60
THING, OTHER_THING, STUFF = 1, 2, 200


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def photo(path):
    write(path, np.full((HEIGHT, WIDTH, 3), 90, np.uint8))


def coconut(root, *, isthing=1):
    """Two images: a large thing, one of 25 pixels, stuff and a crowd; and one of stuff alone."""
    folder = root / "COCONut"
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[:20, :30], ids[:5, 40:45], ids[25:, :], ids[10:20, 40:] = 1, 2, 3, 4
    segments = [(1, THING, 0), (2, OTHER_THING, 0), (3, STUFF, 0), (4, THING, 1)]
    for name, plane in (("a", ids), ("b", np.full((HEIGHT, WIDTH), 3, np.uint8))):
        photo(folder / "train2017" / f"{name}.jpg")
        codes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        codes[..., 2] = plane
        write(folder / "panoptic_coconut_b" / f"{name}.png", codes)
    info = [{"id": number, "category_id": category, "iscrowd": crowd} for number, category, crowd in segments]
    content = {
        "images": [{"id": place, "file_name": f"{name}.jpg"} for place, name in enumerate("ab")],
        "annotations": [
            {"image_id": 0, "file_name": "a.png", "segments_info": info},
            {"image_id": 1, "file_name": "b.png", "segments_info": [info[2]]},
        ],
        "categories": [
            {"id": THING, "name": "cat", "isthing": 1},
            {"id": OTHER_THING, "name": "dog", "isthing": isthing},
            {"id": STUFF, "name": "sky", "isthing": 0},
        ],
    }
    (folder / "coconut_b.json").write_text(json.dumps(content))
    return folder


def entityseg(root):
    """Three images: two objects and a crowd; one object; one object, but no file."""
    folder = root / "EntitySeg"
    names = ["entity_01_11580/a.jpg", "entity_01_11580/b.jpg", "entity_01_11580/gone.jpg"]
    for name in names[:2]:
        photo(folder / "images_lr" / name)
    square = [[5, 5, 25, 5, 25, 25, 5, 25]]
    notes = [(0, 0, square), (0, 0, square), (1, 0, square), (2, 0, square)]
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "iscrowd": crowd, "segmentation": shape, "area": 400}
        for n, (image, crowd, shape) in enumerate(notes)
    ]
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    annotations.append({**annotations[0], "id": 9, "iscrowd": 1, "segmentation": crowd})
    images = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "entityseg_train_lr.json").write_text(json.dumps(content))
    return folder


def dis(root):
    """Three images with one mask each, one of them empty."""
    folder = root / "DIS5K" / "DIS-TR"
    for place in range(3):
        photo(folder / "im" / f"{place}.jpg")
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10:20, 10 : 10 + 10 * place] = 255
        write(folder / "gt" / f"{place}.png", mask)
    return folder


@pytest.fixture
def options(tmp_path):
    return DataStatsOptions(data=tmp_path / "data", workers=0, cache=tmp_path / "cache")


@pytest.fixture
def root(options):
    for make in (coconut, entityseg, dis):
        make(options.data)
    return options.data


def count(options, store, **arguments):
    return {row.cell.backbone: row for row in DATA_STATS.run(options, store=store, **arguments)}


def test_things_are_read_of_what_things_stuff_and_crowds_are_annotated(root, options, tmp_path):
    rows = count(options, Store(tmp_path / "results"))
    assert [*rows] == ["dataset:coconut", "dataset:entityseg", "dataset:dis-tr"]
    assert [cell.backbone for cell in DATA_STATS.plan(options)] == [*rows]
    assert {row.status for row in rows.values()} == {"ok"}
    found = rows["dataset:coconut"].metrics
    assert (found["annotated_images"], found["annotated_masks"]) == (2, 5)
    assert (found["things"], found["stuff"], found["crowds"]) == (3, 2, 1)
    assert (found["images"], found["masks"]) == (1, 1)
    found = rows["dataset:entityseg"].metrics
    assert (found["annotated_images"], found["annotated_masks"], found["crowds"]) == (3, 5, 1)
    assert (found["images"], found["masks"]) == (2, 3)
    assert any("gone.jpg" in line for line in rows["dataset:entityseg"].provenance["run"]["problems"])
    found = rows["dataset:dis-tr"].metrics
    assert (found["annotated_images"], found["annotated_masks"]) == (3, 3)
    assert (found["images"], found["masks"], found["empty_masks"]) == (3, 3, 1)


def test_the_readers_numbers_are_the_readers(root, options, tmp_path):
    for name, row in count(options, Store(tmp_path / "results")).items():
        dataset = find_dataset(name.partition(":")[2], root)
        each = [len(dataset.masks(index)) for index in range(len(dataset))]
        assert row.samples["masks"] == each
        assert (row.metrics["images"], row.metrics["masks"]) == (len(each), sum(each))


def test_threads_and_a_limit_change_what_they_say(root, options, tmp_path):
    plain = count(options, Store(tmp_path / "one"))
    threads = count(replace(options, workers=3), Store(tmp_path / "two"))
    assert {name: row.metrics for name, row in plain.items()} == {name: row.metrics for name, row in threads.items()}
    limited = count(replace(options, limit=1), Store(tmp_path / "three"))["dataset:entityseg"].metrics
    assert (limited["images"], limited["masks"], limited["annotated_masks"]) == (1, 2, 5)


def test_only_what_is_there_is_counted_unless_it_was_asked_for(options, tmp_path):
    dis(options.data)
    assert [*count(options, Store(tmp_path / "results"))] == ["dataset:dis-tr"]
    with pytest.raises(DataError, match="EntitySeg not found under"):
        count(replace(options, datasets=("dis-tr", "entityseg")), Store(tmp_path / "named"))
    assert Store(tmp_path / "named").rows() == []


def test_no_set_at_all_is_told_in_one_line(options, tmp_path):
    options.data.mkdir()
    with pytest.raises(DataError, match="COCONut-B not found") as caught:
        count(options, Store(tmp_path / "results"))
    assert "\n" not in str(caught.value)


def test_a_broken_set_costs_its_own_row_only(root, options, tmp_path):
    (root / "COCONut" / "coconut_b.json").write_text('{"images": [')
    rows = count(options, Store(tmp_path / "results"))
    assert {name: row.status for name, row in rows.items()} == {
        "dataset:coconut": "failed",
        "dataset:entityseg": "ok",
        "dataset:dis-tr": "ok",
    }
    assert "coconut_b.json is no COCO panoptic file" in rows["dataset:coconut"].error
    assert len(Store(tmp_path / "results").rows()) == 3


def test_an_unreadable_mask_is_tolerated_only_when_asked(root, options, tmp_path):
    (root / "DIS5K" / "DIS-TR" / "gt" / "1.png").write_bytes(b"no picture")
    only = replace(options, datasets=("dis-tr",))
    strict = count(only, Store(tmp_path / "strict"))["dataset:dis-tr"]
    assert strict.status == "failed"
    assert "1.png" in strict.error
    row = count(replace(only, max_bad=1), Store(tmp_path / "lenient"))["dataset:dis-tr"]
    assert (row.status, row.metrics["images"], row.metrics["bad_images"]) == ("ok", 2, 1)
    assert "1.png" in row.provenance["run"]["bad_images"][0]


def test_counted_sets_are_not_counted_again_until_their_annotations_change(root, options, tmp_path, monkeypatch):
    store = Store(tmp_path / "results")
    first = count(options, store)

    def counted(*_, **__):
        raise DataError("counted again")

    monkeypatch.setattr(data_stats, "count_images", counted)
    assert {name: row.created_utc for name, row in count(options, store).items()} == {
        name: row.created_utc for name, row in first.items()
    }
    assert {row.error for row in count(options, store, resume=False).values()} == {"counted again"}
    coconut(root, isthing=0)
    again = count(options, store)["dataset:coconut"]
    assert again.error == "counted again", "the same files under another annotation file are another count"


def test_the_drawn_entities_fill_their_images_and_are_the_same_every_time(tmp_path):
    root = build_entityseg(tmp_path / "one", images=2)
    other = build_entityseg(tmp_path / "two", images=2)
    dataset = find_dataset("entityseg", root)
    assert len(dataset) == 2
    assert dataset.fingerprint() == find_dataset("entityseg", other).fingerprint()
    for index in range(2):
        masks = dataset.masks(index)
        assert len(masks) > 8
        assert (masks.sum(0) == 1).all(), "every pixel is of one entity, the ground included"
        assert masks.shape[1:] == dataset.image(index).shape[:2]
    assert build_entityseg(tmp_path / "one", images=2) == root
    assert not [path for path in (tmp_path / "one" / "demo").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasets": ("coconot",)}, "did you mean 'coconut'"),
        ({"datasets": ()}, "no data set"),
        ({"limit": 0}, "--limit is 0"),
        ({"workers": -1}, "--workers is -1"),
    ],
)
def test_options_that_cannot_be_meant(options, change, words):
    with pytest.raises(UsageError, match=words):
        replace(options, **change)
