"""Training sets in their own layouts, the mixes of them, and what a check says of broken ones."""

import json

import numpy as np
import pytest
from linbench.cli import main
from linbench.errors import DataError, UsageError
from linbench.heads.run_lengths import encode_masks
from linbench.suites.data import entityseg
from linbench.suites.data.augment import AugmentOptions, boxes_of, transform
from linbench.suites.data.batches import TrainBatches
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.coconut import CoconutPanoptic
from linbench.suites.data.datasets import DATASETS, find_dataset
from linbench.suites.data.image_folder import ImageFolder
from linbench.suites.data.masks import pack_layers
from linbench.suites.data.mixes import MIXES, MixedSet, get_mix, open_mix
from linbench.suites.data.normalise import MEAN, STD
from linbench.suites.data.sa1b import LEAST_SHARE, MOST_MASKS, SegmentAnything1B
from linbench.suites.training.recipes import PAPER
from PIL import Image

HEIGHT, WIDTH = 48, 64


def photo(path, seed=0, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def rectangle(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def polygon(top, left, bottom, right):
    return [[left, top, right, top, right, bottom, left, bottom]]


# EntitySeg


def entity_json(images, annotations):
    notes = [
        {
            "id": number,
            "iscrowd": 0,
            "category_id": 1,
            "image_id": image,
            "segmentation": shape,
            "area": 10,
            "bbox": [0, 0, 9, 9],
        }
        for number, (image, shape) in enumerate(annotations)
    ]
    entries = [
        {"id": number, "file_name": name, "height": height, "width": width} for number, name, height, width in images
    ]
    return json.dumps({"images": entries, "annotations": notes, "categories": [{"id": 1, "name": "box"}]})


@pytest.fixture
def entity(tmp_path):
    """A data root with EntitySeg: two good images, and one of each kind that is left out."""
    folder = tmp_path / "EntitySeg"
    names = ["entity_01_11580/a.jpg", "entity_02_11598/a.png", "gone.jpg", "void.jpg", "none.jpg", "tiny.jpg"]
    for number, name in enumerate(names[:2]):
        photo(folder / "images_lr" / name, number)
    photo(folder / "images_lr" / "none.jpg")
    photo(folder / "images_lr" / "tiny.jpg", size=(20, 64))
    (folder / "images_lr" / "void.jpg").write_bytes(b"")
    images = [(number, name, 20 if name == "tiny.jpg" else HEIGHT, WIDTH) for number, name in enumerate(names)]
    shapes = [polygon(4, 4, 20, 30), encode_masks(rectangle(24, 8, 40, 50)[None])[0]]
    annotations = [
        (0, shapes[0]),
        (0, shapes[1]),
        (1, shapes[1]),
        (2, shapes[0]),
        (3, shapes[0]),
        (5, polygon(1, 1, 9, 9)),
    ]
    (folder / "entityseg_train_lr.json").write_text(entity_json(images, annotations))
    return tmp_path


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


# SA-1B


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


# HQSeg-44K


def write_pair(images, masks, stem):
    photo(images / f"{stem}.jpg")
    masks.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rectangle(5, 5, 30, 40).astype(np.uint8) * 255).save(masks / f"{stem}.png")


@pytest.fixture
def hqseg(tmp_path):
    """A data root as HQ-SAM's code expects it, two pairs a set."""
    for one in MIXES["hqseg-44k"].sets:
        spec = DATASETS[one.name]
        parent = "thin_object_detection" if one.name == "thinobject-tr" else ""
        for stem in ("x", "y"):
            write_pair(tmp_path / parent / spec.images, tmp_path / parent / spec.masks, stem)
    return tmp_path


def test_every_set_of_hqseg_44k_is_read_where_hq_sam_puts_it(hqseg):
    opened = open_mix(get_mix("hqseg-44k"), hqseg)
    assert [len(dataset) for dataset in opened.datasets] == [2] * 7
    for dataset in opened.datasets:
        assert dataset.masks(0).sum() == 25 * 35
    assert len(find_dataset("ecssd", hqseg / "cascade_psp")) == 2
    report = check_dataset("duts-tr", hqseg)
    assert report.problems == ["DUTS-TR: 2 images with masks; expected 10553"]


def test_a_shared_folder_matches_photographs_and_masks(hqseg):
    folder = hqseg / "cascade_psp" / "fss_all"
    photo(folder / "lonely.jpg")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / "stray.png")
    with pytest.raises(DataError, match=r"1 of 3 images have no mask .*lonely\.jpg"):
        find_dataset("fss-1000", hqseg)
    text = "\n".join(check_dataset("fss-1000", hqseg).problems)
    assert "lonely.jpg: no mask" in text
    assert "stray.png: no image" in text
    assert "x.png" not in text


def test_a_mix_names_every_set_that_is_missing(hqseg):
    for path in (hqseg / "cascade_psp" / "ecssd").iterdir():
        path.unlink()
    (hqseg / "cascade_psp" / "ecssd").rmdir()
    with pytest.raises(DataError, match=r"hqseg-44k: 1 of 7 sets cannot be used: ECSSD not found"):
        open_mix(get_mix("hqseg-44k"), hqseg)
    with pytest.raises(DataError, match=r"3 of 3 sets.*COCONut.*EntitySeg"):
        open_mix(get_mix("rwkvsam"), hqseg / "cascade_psp")


# COCONut


@pytest.mark.parametrize(
    ("json_name", "segments", "photos", "validation"),
    [
        ("annotations/coconut_b.json", "coconut_b/panoptic_coconut_b", "train2017", False),
        ("annotations/annotations/coconut_s_panoptic.json", "coconut_s/panoptic", "train2017", False),
        ("coconut_b/coconut_b.json", "coconut_b/coconut_b", "images/train2017", False),
        ("annotations/panoptic_train2017.json", "panoptic_train2017", "train2017", False),
        ("relabeled_coco_val.json", "relabeled_coco_val", "val2017", True),
        ("annotations/relabeled_coco_val_panoptic.json", "relabeled_coco_val/panoptic", "../COCO/val2017", True),
    ],
)
def test_coconut_is_found_under_every_release_s_names(tmp_path, json_name, segments, photos, validation):
    root = tmp_path / "COCONut"
    codes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    codes[4:20, 4:20] = 7, 1, 0
    codes[30:40, 4:20] = 9, 0, 0
    (root / segments).mkdir(parents=True)
    Image.fromarray(codes).save(root / segments / "000000000001.png")
    photo((root / photos).resolve() / "000000000001.jpg")
    url = f"http://images.cocodataset.org/{'val2017' if validation else 'train2017'}/000000000001.jpg"
    segment_infos = [
        {"id": 263, "category_id": 1, "isthing": 1},
        {"id": 9, "category_id": 200, "isthing": 0},
        {"category_id": 1, "isthing": 1},
    ]
    data = {
        "images": [
            {"id": 1, "file_name": "000000000001.jpg", "coco_url": url},
            {"id": 2, "file_name": "000000000002.jpg", "coco_url": url},
        ],
        "annotations": [
            {"image_id": 1, "file_name": "000000000001.jpg", "segments_info": segment_infos},
            {"image_id": 5, "file_name": "000000000005.png", "segments_info": segment_infos},
        ],
        "categories": [{"id": 1, "isthing": 1}, {"id": 200, "isthing": 0}],
    }
    (root / json_name).parent.mkdir(parents=True, exist_ok=True)
    (root / json_name).write_text(json.dumps(data))
    dataset = find_dataset("coconut-val" if validation else "coconut", tmp_path)
    assert len(dataset) == 1
    assert [int(mask.sum()) for mask in dataset.masks(0)] == [16 * 16]
    text = "\n".join(check_dataset("coconut-val" if validation else "coconut", tmp_path).problems)
    for words in ("1 annotations of images that it does not list", "1 images without", "1 segments without an id"):
        assert words in text


def test_parquet_files_of_coconut_need_converting(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"relabeled_coco_val\.json.*download_coconut\.py"):
        CoconutPanoptic(tmp_path, validation=True)


# Mixes and augmentation


def test_the_paper_s_mix_is_482_thousand_samples_in_2_1_1():
    mix = MIXES["rwkvsam"]
    counts = {"coconut": 233_960, "entityseg": 31_913, "dis-tr": 3_000}
    assert {one.name: one.images for one in mix.sets} == counts
    assert mix.samples == sum(counts[one.name] * one.repeats for one in mix.sets) == 481_612
    shares = [one.samples / mix.samples for one in mix.sets]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    assert mix.steps(epochs=6, images=32) == PAPER.joint.steps
    assert MIXES["rwkvsam+sa-1b"].samples == 481_612 + 111_860
    assert MIXES["hqseg-44k"].samples == 44_320
    for one in (one for mix in MIXES.values() for one in mix.sets):
        assert DATASETS[one.name].count in (0, one.images)


def test_each_set_of_the_mix_is_drawn_in_its_own_way():
    options = {one.name: one.augment for one in MIXES["rwkvsam+sa-1b"].sets}
    assert {name: option.scale for name, option in options.items()} == {
        "coconut": (0.1, 2.0),
        "entityseg": (0.8, 2.0),
        "dis-tr": (1.0, 1.0),
        "sa-1b": (1.0, 1.5),
    }
    assert options["dis-tr"].flip == 0
    assert {options[name].flip for name in ("coconut", "entityseg", "sa-1b")} == {0.5}
    assert {options[name].min_area for name in ("coconut", "entityseg", "sa-1b")} == {32}
    assert {option.colour for option in options.values()} == {0}
    assert {(one.augment.pad, one.augment.scale) for one in MIXES["hqseg-44k"].sets} == {(128, (0.1, 2.0))}


def test_batches_of_a_mix_follow_each_set_s_options(hqseg, entity):
    opened = open_mix(MIXES["hqseg-44k"], hqseg)
    batches = TrainBatches(
        opened.datasets, repeats=opened.repeats, options=opened.options, frame=64, batch_size=7, steps=4, seed=1
    )
    batch = batches.batch(0)
    assert batch["images"].shape == (7, 3, 64, 64)
    assert np.array_equal(batch["boxes"], boxes_of(batch["masks"].numpy()))
    whole = AugmentOptions(flip=0.0, scale=(1.0, 1.0), colour=0.0, mixed_filters=False)
    small = AugmentOptions(flip=0.0, scale=(0.5, 0.5), colour=0.0, mixed_filters=False, pad=128)
    two = [find_dataset("ecssd", hqseg), find_dataset("entityseg", entity)]
    mixed = TrainBatches(two, options=(small, whole), frame=64, batch_size=8, steps=1).batch(0)
    grey = ((np.full(3, 128) - MEAN) / STD).astype(np.float32)
    corners = mixed["images"][:, :, -1, -1].numpy()
    assert sum(np.allclose(corner, grey, atol=1e-5) for corner in corners) == 4
    assert sum(not corner.any() for corner in corners) == 4
    with pytest.raises(UsageError, match="2 augmentations for 1"):
        TrainBatches(two[:1], options=(small, whole), frame=64, batch_size=1, steps=1)
    with pytest.raises(UsageError, match="pad"):
        AugmentOptions(pad=300)


def test_boxes_are_those_of_the_cropped_masks():
    layers = rectangle(0, 0, HEIGHT, WIDTH).astype(np.uint8)[None]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    options = AugmentOptions(flip=0.0, scale=(2.0, 2.0), colour=0.0)
    sample = transform(np.random.default_rng(0), image, layers, 64, options)
    assert sample.boxes.tolist() == [[0, 0, 63, 63]]


def test_unreadable_training_images_are_replaced_and_counted(entity):
    (entity / "EntitySeg" / "images_lr" / "entity_01_11580" / "a.jpg").write_bytes(b"no image")
    dataset = find_dataset("entityseg", entity)

    def stream(max_bad):
        return TrainBatches([dataset], frame=64, batch_size=4, steps=2, max_bad=max_bad)

    tolerant = stream(1)
    assert len(tolerant.batch(0)["images"]) == 4
    assert list(tolerant.bad) == [(0, 0)]
    assert "a.jpg" in tolerant.bad[0, 0]
    with pytest.raises(DataError, match=r"a\.jpg: unreadable"):
        stream(0).batch(0)
    (entity / "EntitySeg" / "images_lr" / "entity_02_11598" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="2 training images could not be used, 1 are tolerated"):
        stream(1).batch(0)


def test_mixes_that_cannot_be_meant():
    with pytest.raises(UsageError, match="did you mean 'rwkvsam'"):
        get_mix("rwkvsm")
    with pytest.raises(UsageError, match="did you mean 'ecssd'"):
        MixedSet("ecsd", 1, 1, AugmentOptions())
    with pytest.raises(UsageError, match="expected 1 or more"):
        MixedSet("ecssd", 1, 0, AugmentOptions())


def test_a_folder_of_images_has_no_masks(hqseg, tmp_path):
    dataset = ImageFolder(hqseg / "cascade_psp")
    assert len(dataset) == 20
    assert dataset.masks(0).shape == (0, HEIGHT, WIDTH)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        ImageFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["entityseg", "sa-1b", "coconut-val", "thinobject-tr", "msra10k"])
def test_the_command_prints_the_expected_tree(name, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", name, "--data", str(tmp_path)])
    assert stop.value.code == 1
    assert f"expected {DATASETS[name].tree}" in " ".join(capsys.readouterr().err.split())
