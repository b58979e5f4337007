import shutil

import numpy as np
import pytest
from linbench.errors import DataError, UsageError
from linbench.suites.data.masks import FolderMasks, Pair, open_folder, pack_layers
from PIL import Image


def test_pairs_are_matched_by_stem_whatever_the_suffix(pairs):
    Image.open(pairs / "im" / "a.jpg").save(pairs / "im" / "d.png")
    shutil.copy(pairs / "gt" / "a.png", pairs / "gt" / "d.png")
    (pairs / "im" / "Thumbs.db").write_bytes(b"x")
    (pairs / "im" / "._a.jpg").write_bytes(b"Mac OS X")
    dataset = open_folder("MINE", pairs)
    assert dataset.items == ("a", "b", "c", "d")
    assert dataset.image(3).shape == (30, 40, 3)
    assert dataset.masks(0).shape == (1, 30, 40)
    assert dataset.masks(0).sum() == 15 * 22


def test_soft_masks_are_cut_at_128_in_any_folder_and_above_it_in_official_ones(pairs):
    soft = np.array([[126, 127, 128, 129] * 10] * 30, np.uint8)
    Image.fromarray(np.stack([soft] * 3, 2)).save(pairs / "gt" / "a.png")
    assert open_folder("MINE", pairs).masks(0)[0, 0, :4].tolist() == [False, False, True, True]
    official = FolderMasks.open("DIS", pairs / "im", pairs / "gt")
    assert official.masks(0)[0, 0, :4].tolist() == [False, False, False, True]
    assert official.labels(0)[0, 0, :4].tolist() == [126, 127, 128, 129]


def test_missing_masks_are_listed(pairs):
    (pairs / "gt" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images have no mask.*b\.jpg"):
        open_folder("MINE", pairs)


def test_mask_of_another_size_names_both_sizes(pairs):
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(pairs / "gt" / "b.png")
    dataset = open_folder("MINE", pairs)
    dataset.masks(0)
    with pytest.raises(DataError, match=r"b\.png: mask of 30x40 for an image of 40x30"):
        dataset.masks(1)


def test_folders_that_are_no_data_set(pairs, tmp_path):
    with pytest.raises(DataError, match="neither im/"):
        open_folder("MINE", tmp_path / "nowhere")
    for file in (pairs / "im").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no images"):
        open_folder("MINE", pairs)


def test_two_images_of_one_stem_are_refused(pairs):
    Image.open(pairs / "im" / "a.jpg").save(pairs / "im" / "a.png")
    with pytest.raises(DataError, match="same stem"):
        open_folder("MINE", pairs)


def test_fingerprint_sees_content_names_and_sizes(pairs):
    before = open_folder("MINE", pairs).fingerprint()
    assert open_folder("MINE", pairs).fingerprint() == before
    assert open_folder("OTHER", pairs).fingerprint() != before
    Image.fromarray(np.full((30, 40), 255, np.uint8)).save(pairs / "gt" / "c.png")
    changed = open_folder("MINE", pairs).fingerprint()
    assert changed != before
    (pairs / "gt" / "c.png").unlink()
    (pairs / "im" / "c.jpg").unlink()
    assert open_folder("MINE", pairs).fingerprint() not in {before, changed}


def test_full_fingerprint_sees_a_change_that_the_sample_misses(tmp_path):
    for index in range(64):
        (tmp_path / f"{index:02d}.jpg").write_bytes(b"aaaa")
    dataset = FolderMasks("X", [Pair(path, path) for path in sorted(tmp_path.iterdir())])
    sample, full = dataset.fingerprint(), dataset.fingerprint(full=True)
    (tmp_path / "01.jpg").write_bytes(b"bbbb")
    assert dataset.fingerprint() == sample
    assert dataset.fingerprint(full=True) != full


def fake(names, tmp_path):
    return FolderMasks("X", [Pair(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png") for name in names])


def test_split_is_a_partition_that_stays_when_files_are_added(tmp_path):
    few = fake([f"n{index}" for index in range(40)], tmp_path)
    many = fake([f"n{index}" for index in range(80)], tmp_path)
    train, evaluation = few.split(fraction=0.3, seed=1)
    assert sorted(train.items + evaluation.items) == sorted(few.items)
    assert 4 <= len(evaluation) <= 20
    assert set(evaluation.items) <= set(many.split(fraction=0.3, seed=1)[1].items)
    assert set(evaluation.items) != set(few.split(fraction=0.3, seed=2)[1].items)


def test_split_keeps_sequences_together(tmp_path):
    dataset = fake([f"scene{letter}_{frame:04d}" for letter in "abcdefghij" for frame in range(3)], tmp_path)
    train, evaluation = dataset.split(fraction=0.4, seed=3)
    assert {name[:6] for name in train.items}.isdisjoint({name[:6] for name in evaluation.items})


def test_split_of_little_gives_both_sides_something(tmp_path):
    train, evaluation = fake(["a", "b"], tmp_path).split(fraction=0.01)
    assert (len(train), len(evaluation)) == (1, 1)
    with pytest.raises(UsageError, match="at least 2"):
        fake(["a"], tmp_path).split()
    with pytest.raises(UsageError, match="between 0 and 1"):
        fake(["a", "b"], tmp_path).split(fraction=1.0)


def test_packed_layers_hold_every_mask():
    masks = np.random.default_rng(0).random((7, 9, 11)) < 0.3
    layers = pack_layers(masks)
    for number, mask in enumerate(masks, 1):
        assert np.array_equal((layers == number).any(0), mask)
    disjoint = np.eye(5, dtype=bool)[:, None]
    assert len(pack_layers(disjoint)) == 1
    assert pack_layers(masks[:0]).shape == (0, 9, 11)
    with pytest.raises(DataError, match="at most 255"):
        pack_layers(np.zeros((256, 2, 2), bool))
