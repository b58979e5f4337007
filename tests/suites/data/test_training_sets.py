"""HQSeg-44K's sets and COCONut in their layouts, the mixes of training sets, and the batches of them."""

import json

import numpy as np
import pytest
from layouts_for_tests import HEIGHT, WIDTH, photo, rectangle
from linbench.cli import main
from linbench.errors import DataError, UsageError
from linbench.suites.data.augment import AugmentOptions, boxes_of, transform
from linbench.suites.data.batches import TrainBatches
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.coconut import CoconutPanoptic
from linbench.suites.data.datasets import DATASETS, find_dataset
from linbench.suites.data.image_folder import ImageFolder
from linbench.suites.data.mixes import MIXES, MixedSet, get_mix, open_mix
from linbench.suites.data.normalise import MEAN, STD
from linbench.suites.training.recipes import PAPER
from PIL import Image


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
