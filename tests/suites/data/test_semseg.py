"""Semantic sets: class tables, layouts, faults, training samples, the drawn set; real photographs where they are."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from linbench.errors import DataError, UsageError
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.demo.ade20k import FOLDER, build_ade20k_demo, draw_scene
from linbench.suites.data.demo.landscape import LOOKS
from linbench.suites.data.semseg import open_semantic
from linbench.suites.data.semseg_augment import SemanticAugment, augment, distorted, fitted_size
from linbench.suites.data.semseg_batches import SemanticBatches
from linbench.suites.data.semseg_checks import check_semantic
from linbench.suites.data.semseg_classes import ADE20K_CLASSES, read_classes
from linbench.suites.metrics.semseg import confusion, constant_confusion, semantic_scores
from PIL import Image

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "semseg"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return build_ade20k_demo(tmp_path_factory.mktemp("ade"), training=6, validation=3)


@pytest.fixture
def camvid(tmp_path):
    """A folder in CamVid's layout, ids with gaps, 24x20 pixels."""
    rng = np.random.default_rng(0)
    root = tmp_path / "streets"
    for split in ("train", "test"):
        for part in (split, f"{split}annot"):
            (root / part).mkdir(parents=True)
        for name in ("a", "b", "c"):
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(root / split / f"{name}.png")
            ids = rng.choice(np.array([0, 7, 200], np.uint8), (20, 24))
            Image.fromarray(ids).save(root / f"{split}annot" / f"{name}.png")
    (root / "classes.tsv").write_text("id\tname\n0\tVoid\n7\tcar\n200\troad\n")
    return root


def test_gaps_and_void_are_mapped_by_the_table(camvid):
    splits = open_semantic(camvid)
    assert (splits.name, splits.table.names, len(splits.train), len(splits.evaluation)) == (
        "streets",
        ("car", "road"),
        3,
        3,
    )
    values = np.array(Image.open(camvid / "testannot" / "b.png"))
    wanted = np.select([values == 7, values == 200], [0, 1], 255)
    assert np.array_equal(splits.evaluation.classes(1), wanted)
    assert splits.evaluation.items == ("a", "b", "c")


def test_ade20k_zero_is_no_class_and_the_others_are_one_less(drawn, tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    for part, mode in (("images", "RGB"), ("annotations", "L")):
        (root / part / "validation").mkdir(parents=True)
        kind = "jpg" if part == "images" else "png"
        Image.new(mode, (6, 4)).save(root / part / "validation" / f"x.{kind}")
    ids = np.array([[0, 1, 2, 150, 255, 13]] * 4, np.uint8)
    Image.fromarray(ids).save(root / "annotations" / "validation" / "x.png")
    splits = open_semantic(root)
    assert (splits.name, len(splits.table), splits.train) == ("ADE20K", 150, None)
    assert splits.evaluation.classes(0)[0].tolist() == [255, 0, 1, 149, 255, 12]
    assert splits.table.names[0] == "wall"
    assert splits.table.names[149] == "flag"
    custom = tmp_path / "some.tsv"
    custom.write_text("id\tname\n1\tone\n2\ttwo\n13\tthirteen\n150\tlast\n")
    assert open_semantic(root, classes=custom).evaluation.classes(0)[0].tolist() == [255, 0, 1, 3, 255, 2]


def test_the_official_table_is_whole():
    table = read_classes(ADE20K_CLASSES)
    assert table.ids == tuple(range(1, 151))
    assert len(set(table.names)) == 150


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number\tname\n1\ta\n", "no columns id and name"),
        ("id\tname\n1\ta\nx\tb\n", "line 3: id 'x'"),
        ("id\tname\n1\ta\n1\tb\n", "id 1 occurs twice"),
        ("id\tname\n1\ta\n", "1 classes that count"),
        ("id\tname\n" + "".join(f"{i}\tn{i}\n" for i in range(1, 300)), "299 classes"),
    ],
)
def test_a_table_that_cannot_be_is_told(tmp_path, text, said):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_classes(tmp_path / "t.tsv")


def spoil(root, fault):
    label = root / "testannot" / "b.png"
    if fault == "out of range":
        Image.fromarray(np.full((20, 24), 9, np.uint8)).save(label)
    elif fault == "another size":
        Image.fromarray(np.full((20, 23), 7, np.uint8)).save(label)
    elif fault == "no annotation":
        label.unlink()
    elif fault == "no image":
        (root / "test" / "b.png").unlink()
    elif fault == "coloured":
        Image.new("RGB", (24, 20)).save(label)
    elif fault == "torn image":
        whole = (root / "test" / "b.png").read_bytes()
        (root / "test" / "b.png").write_bytes(whole[: len(whole) // 2])
    elif fault == "torn annotation":
        label.write_bytes(label.read_bytes()[:60])


FAULTS = {
    "out of range": r"b\.png: values 9 are no classes of .*classes\.tsv \(2 classes, ids 7 to 200\)",
    "another size": "annotation of 23x20 for an image of 24x20",
    "no annotation": r"b\.png: no annotation in",
    "no image": r"b\.png: no image in",
    "coloured": "annotation of mode RGB; expected one channel",
    "torn image": "unreadable image",
    "torn annotation": "unreadable image",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_and_tolerated_when_asked(camvid, fault):
    spoil(camvid, fault)
    dataset = open_semantic(camvid).evaluation
    with pytest.raises(DataError, match=FAULTS[fault]) as told:
        check_semantic(dataset, images=True)
    assert "1 of 3 items" in str(told.value)
    assert "--max-bad 1" in str(told.value)
    checked = check_semantic(dataset, images=True, max_bad=1)
    assert checked.dataset.items == ("a", "c")
    assert len(checked.bad) == 1
    counts = [(np.array(Image.open(camvid / "testannot" / f"{name}.png")) == 7).sum() for name in ("a", "c")]
    assert checked.pixels[0] == sum(counts)


def test_a_set_without_a_pixel_that_counts_is_told(camvid):
    for path in (camvid / "testannot").iterdir():
        Image.fromarray(np.full((20, 24), 255, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"3 annotations, .*a\.png first, have no pixel of a class of .*classes\.tsv"):
        check_semantic(open_semantic(camvid).evaluation)


def test_missing_layout_and_table_are_told(camvid, tmp_path):
    (camvid / "classes.tsv").unlink()
    with pytest.raises(DataError, match=r"no class table; put classes\.tsv there"):
        open_semantic(camvid)
    with pytest.raises(DataError, match="holds no semantic segmentation set"):
        open_semantic(tmp_path)


def test_a_step_is_the_same_for_any_start_and_number_of_processes(drawn):
    dataset = open_semantic(drawn / FOLDER).train
    options = SemanticAugment(scale=(128, 64), crop=48)

    def stream(**more):
        return list(SemanticBatches(dataset, options, images=4, steps=3, seed=5, **more))

    whole = stream()
    later = stream(start_step=2, workers=3)
    halves = [stream(rank=rank, world_size=2) for rank in (0, 1)]
    assert torch.equal(later[0]["images"], whole[2]["images"])
    for step in range(3):
        for key in ("images", "classes", "samples"):
            assert torch.equal(torch.cat([half[step][key] for half in halves]), whole[step][key])
    assert not torch.equal(whole[0]["images"], whole[1]["images"])
    other = list(SemanticBatches(dataset, options, images=4, steps=1, seed=6))
    assert not torch.equal(whole[0]["images"], other[0]["images"])
    with pytest.raises(UsageError, match="4 images a step cannot be shared by 3"):
        SemanticBatches(dataset, options, images=4, steps=1, world_size=3)


def test_image_and_classes_stay_together():
    """Each class has its own grey; after resize, crop and flip the greys still tell the classes."""
    numbers = np.zeros((60, 90), np.uint8)
    numbers[:, 30:] = 1
    numbers[20:, 60:] = 2
    image = np.repeat((numbers * 100)[..., None], 3, 2)
    for seed in range(20):
        options = SemanticAugment(scale=(180, 64), crop=56, distort=False)
        sample = augment(np.random.default_rng(seed), image, numbers, options)
        assert sample.image.shape == (3, 56, 56)
        grey = sample.image[0] * 58.395 + 123.675
        shown = sample.classes != 255
        assert (np.abs(grey - 100.0 * sample.classes)[shown] < 30).mean() > 0.9
        assert (sample.image[:, ~shown] == 0).all()
        counts = np.bincount(sample.classes[shown])
        assert counts.max() < 0.8 * counts.sum()


def test_the_crop_avoids_one_class_where_it_can_and_small_images_are_padded():
    numbers = np.zeros((64, 64), np.uint8)
    numbers[:8, :8] = 1
    image = np.zeros((64, 64, 3), np.uint8)
    options = SemanticAugment(scale=(32, 32), ratio=(1.0, 1.0), crop=48, distort=False)
    sample = augment(np.random.default_rng(0), image, numbers, options)
    assert (sample.classes[32:] == 255).all()
    assert (sample.classes[:, 32:] == 255).all()
    assert (sample.classes[:32, :32] != 255).all()


def test_sizes_are_fitted_as_published():
    assert fitted_size(512, 683, (2048, 512)) == (512, 683)
    assert fitted_size(256, 683, (2048, 512)) == (512, 1366)
    assert fitted_size(100, 1000, (2048, 512)) == (205, 2048)


def test_distortion_changes_colours_within_bounds_and_repeats():
    image = np.random.default_rng(0).integers(40, 200, (8, 8, 3), dtype=np.uint8)
    found = [distorted(np.random.default_rng(seed), image.copy()) for seed in range(40)]
    again = [distorted(np.random.default_rng(seed), image.copy()) for seed in range(40)]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    changed = [not np.array_equal(one, image) for one in found]
    assert 30 < sum(changed) <= 40, "each of four changes happens half of the time"
    assert abs(np.mean([one.mean() for one in found]) - image.mean()) < 15


def test_scores_equal_a_count_pixel_by_pixel():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 5, (2, 40, 30)), rng.integers(0, 4, (2, 40, 30))
    truth[:, :5] = 255
    matrix = sum(confusion(p, t, 6) for p, t in zip(prediction, truth, strict=True))
    scores = semantic_scores(matrix)
    counted = truth != 255
    ious, accs = [], []
    for number in range(6):
        t, p = (truth == number) & counted, (prediction == number) & counted
        if (t | p).any():
            ious.append((t & p).sum() / (t | p).sum())
        if t.any():
            accs.append((t & p).sum() / t.sum())
    assert scores.miou == pytest.approx(100 * np.mean(ious))
    assert scores.macc == pytest.approx(100 * np.mean(accs))
    assert scores.aacc == pytest.approx(100 * (truth == prediction)[counted].mean())
    assert np.isnan(scores.iou[5])
    assert len(ious) == 5
    constant = semantic_scores(constant_confusion(matrix.sum(1), 2))
    assert constant.miou == pytest.approx(100 * (truth == 2).sum() / counted.sum() / 5)
    with pytest.raises(UsageError, match="differ in size"):
        confusion(prediction[0], truth[0][:3], 6)
    with pytest.raises(UsageError, match="no pixel"):
        semantic_scores(np.zeros((3, 3), np.int64))


def test_drawn_scenes_are_the_same_on_every_machine():
    scene = draw_scene(0, "validation", 1)
    digest = hashlib.sha256(scene.image.tobytes() + scene.ids.tobytes()).hexdigest()[:16]
    assert digest == "5553f72178e62128"


def test_drawn_data_are_a_whole_set_and_drawn_once(drawn):
    report = check_dataset("ade20k", drawn)
    assert report.problems == []
    assert (report.demo, report.found, report.expected) == (True, 9, 9)
    before = (drawn / FOLDER / "manifest.json").stat().st_mtime_ns
    assert build_ade20k_demo(drawn, training=6, validation=3) == drawn
    assert (drawn / FOLDER / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="another seed, size"):
        build_ade20k_demo(drawn, training=7, validation=3)
    splits = open_semantic(drawn / FOLDER)
    assert set(splits.table.ids) == {look.id for look in LOOKS.values()}
    assert 0.0 < max(check_semantic(splits.train).pixels) / check_semantic(splits.train).pixels.sum() < 0.5


def test_drawn_files_hold_what_was_drawn(drawn):
    scene = draw_scene(0, "training", 2)
    folder = drawn / FOLDER
    ids = np.array(Image.open(folder / "annotations" / "training" / "ADE_train_00000003.png"))
    assert np.array_equal(ids, scene.ids)
    image = cv2.imread(str(folder / "images" / "training" / "ADE_train_00000003.jpg"))[..., ::-1]
    assert np.abs(image.astype(int) - scene.image).mean() < 8


@pytest.mark.skipif(not REAL.is_dir(), reason="the photographs are not at hand")
@pytest.mark.parametrize(
    ("name", "items", "classes", "occurring"), [("CamVid", 32, 11, 11), ("COCO-semantic", 42, 129, 98)]
)
def test_photographs_are_read(name, items, classes, occurring):
    splits = open_semantic(REAL / name)
    checked = check_semantic(splits.evaluation)
    assert (len(checked.dataset), len(splits.table), int((checked.pixels > 0).sum())) == (items, classes, occurring)
