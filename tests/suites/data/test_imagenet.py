"""ImageNet's layout in folders and shards: classes, labels, odd images, what is wrong with it; the demo data in it."""

import io
import json
import tarfile

import numpy as np
import pytest
from linbench.cli import main
from linbench.errors import DataError, UsageError
from linbench.suites.data.checks import check_dataset
from linbench.suites.data.datasets import find_dataset
from linbench.suites.data.demo.imagenet import CLASSES, build_imagenet_demo, class_name, draw_class
from linbench.suites.data.imagenet import ImageNetFolder, imagenet_order
from linbench.suites.data.imagenet_layout import check_classes, find_imagenet
from linbench.suites.data.imagenet_shards import ImageNetShards
from PIL import Image

TENCH, GOLDFISH, SHARK = "n01440764", "n01443537", "n01484850"


def picture(path, size=(40, 30), value=120, **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 40, 200)).save(path, **save)


@pytest.fixture
def layout(tmp_path):
    """`train/` and `val/` of three classes of ImageNet, two images each."""
    for split in ("train", "val"):
        for folder in (TENCH, GOLDFISH, SHARK):
            for index in range(2):
                picture(tmp_path / "imagenet" / split / folder / f"{folder}_{index}.JPEG")
    return tmp_path / "imagenet"


def test_labels_are_places_by_name_or_imagenets_own(layout):
    val = find_imagenet(layout).open("val")
    assert val.classes == (TENCH, GOLDFISH, SHARK)
    assert val.labels.tolist() == val.targets(3).tolist() == [0, 0, 1, 1, 2, 2]
    # Classes 0, 1 and 2 of ImageNet happen to be tench, goldfish and great white shark; 389 is barracouta.
    assert val.targets(1000).tolist() == [0, 0, 1, 1, 2, 2]
    assert imagenet_order(["n02514041", TENCH]).tolist() == [389, 0]
    with pytest.raises(DataError, match=r"3 classes .* for a head with 20 outputs"):
        val.targets(20)


def test_it_is_found_by_itself_below_a_root_and_by_the_names_of_its_classes(layout, tmp_path):
    assert find_imagenet(layout).root == find_imagenet(tmp_path).root == layout
    layout.rename(tmp_path / "my-copy")
    assert find_imagenet(tmp_path).root == tmp_path / "my-copy"
    with pytest.raises(DataError, match=r"not found under .* expected imagenet/"):
        find_imagenet(tmp_path / "my-copy" / "val" / TENCH)


def test_validation_has_the_training_classes_in_their_order(layout):
    for file in (layout / "val" / GOLDFISH).iterdir():
        file.unlink()
    (layout / "val" / GOLDFISH).rmdir()
    found = find_imagenet(layout)
    val = found.open("val")
    assert val.classes == (TENCH, GOLDFISH, SHARK)
    assert val.labels.tolist() == [0, 0, 2, 2]
    with pytest.raises(DataError, match=f"val has no image of 1 classes .* {GOLDFISH}"):
        check_classes(found.open("train"), val)


def test_folders_of_numbers_are_those_classes(tmp_path):
    for number in range(11):
        picture(tmp_path / "val" / str(number) / "a.png")
    assert find_imagenet(tmp_path).open("val").classes == tuple(map(str, range(11)))
    (tmp_path / "val" / "10").rename(tmp_path / "val" / "11")
    assert find_imagenet(tmp_path).open("val").classes[:3] == ("0", "1", "11"), "a gap makes them names"


def test_what_is_wrong_with_the_folders_is_told(layout):
    (layout / "train" / "n01491361").mkdir()
    with pytest.raises(DataError, match=r"no image .* in 1 of 4 class folders .*: n01491361; fill or remove"):
        find_imagenet(layout).open("train")
    (layout / "train" / "n01491361").rename(layout / "train" / "stray")
    with pytest.raises(DataError, match="are not: stray; rename or remove"):
        find_imagenet(layout).open("train")
    (layout / "train" / "stray").rmdir()
    picture(layout / "val" / "n01491361" / "a.jpg")
    with pytest.raises(DataError, match="classes that the training set lacks: n01491361"):
        find_imagenet(layout).open("val")


def test_flat_and_missing_splits_are_told(tmp_path):
    picture(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match="its images lie flat"):
        ImageNetFolder("ImageNet val", tmp_path / "val")
    with pytest.raises(DataError, match="is missing"):
        ImageNetFolder("ImageNet val", tmp_path / "nowhere")


def test_images_of_every_mode_are_read(tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    Image.new("CMYK", (9, 7), (0, 200, 100, 20)).save(odd / "cmyk.jpg")
    Image.new("P", (9, 7), 3).save(odd / "palette.png")
    Image.fromarray(np.full((7, 9), 40_000, np.uint16)).save(odd / "sixteen.png")
    Image.new("L", (1, 1), 9).save(odd / "one.png")
    Image.new("LA", (9, 7), (30, 99)).save(odd / "alpha.webp")
    folder = ImageNetFolder("odd", tmp_path)
    shapes = {name: folder.image(index).shape for index, name in enumerate(folder.items)}
    assert shapes.pop("odd/one.png") == (1, 1, 3)
    assert len(shapes) == 4
    assert set(shapes.values()) == {(7, 9, 3)}
    assert folder.image(folder.items.index("odd/sixteen.png"))[0, 0, 0] == 40_000 >> 8


def test_unusable_images_are_named(tmp_path):
    picture(tmp_path / "a" / "good.jpg")
    whole = (tmp_path / "a" / "good.jpg").read_bytes()
    (tmp_path / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "page.jpg").write_bytes(b"<html>")
    picture(tmp_path / "a" / "thread.png", size=(4000, 1))
    folder = ImageNetFolder("photos", tmp_path)
    for name in ("cut.jpg", "page.jpg", "thread.png"):
        with pytest.raises(DataError, match=name):
            folder.image(folder.items.index(f"a/{name}"))


def test_own_photographs_are_turned_upright_those_of_imagenet_stay_as_stored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder in ("holiday", TENCH):
        picture(
            tmp_path / folder / "x" / "turned.jpg" if folder == TENCH else tmp_path / folder / "x" / "t.jpg", exif=exif
        )
    (tmp_path / TENCH / "x").rename(tmp_path / TENCH / TENCH)
    assert ImageNetFolder("own", tmp_path / "holiday").image(0).shape == (40, 30, 3)
    assert ImageNetFolder("ImageNet val", tmp_path / TENCH).image(0).shape == (30, 40, 3)


def test_a_fingerprint_tells_labels_and_content(layout):
    first = find_imagenet(layout).open("val").fingerprint()
    assert first == find_imagenet(layout).open("val").fingerprint()
    moved = layout / "val" / TENCH / f"{TENCH}_0.JPEG"
    moved.rename(layout / "val" / GOLDFISH / "moved.JPEG")
    second = find_imagenet(layout).open("val").fingerprint()
    picture(layout / "val" / TENCH / f"{TENCH}_1.JPEG", value=121)
    assert len({first, second, find_imagenet(layout).open("val").fingerprint()}) == 3


def write_shard(path, samples):
    with tarfile.open(path, "w") as archive:
        for key, image, label in samples:
            for ending, content in (("jpg", image), ("cls", label)):
                if content is not None:
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))


def jpeg(value):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (value, value, value)).save(buffer, "jpeg")
    return buffer.getvalue()


def test_shards_hold_the_same_images_as_folders(tmp_path):
    samples = [(f"{place:05d}", jpeg(20 * place), b"%d" % (place % 3)) for place in range(7)]
    write_shard(tmp_path / "imagenet-train-0.tar", samples[:3])
    write_shard(tmp_path / "imagenet-train-1.tar", samples[3:])
    write_shard(tmp_path / "imagenet-val-0.tar", samples[:2])
    found = find_imagenet(tmp_path)
    train, val = found.open("train"), found.open("val")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert [round(float(train.image(index).mean()) / 20) for index in (6, 0, 3)] == [6, 0, 3]
    assert val.classes == train.classes == ("0", "1", "2")
    assert train.targets(1000).tolist() == train.labels.tolist()
    with pytest.raises(DataError, match="labels up to 2 for a head with 2 outputs"):
        train.targets(2)


def test_a_shards_name_tells_its_split_whatever_the_root_is_called(tmp_path):
    root = tmp_path / "train-and-val"
    for name in ("train/0000.tar", "val/0000.tar", "Validation-1.tar", "VOCtest.tar"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_shard(root / name, [("a", jpeg(9), b"0"), ("b", jpeg(9), b"1")])
    found = find_imagenet(root)
    assert (len(found.open("train")), len(found.open("val"))) == (2, 4)
    for name in ("imagenet-trainval-0.tar", "train/imagenet-val-0.tar"):
        write_shard(root / name, [("a", jpeg(9), b"0")])
        with pytest.raises(DataError, match=f"{name}: train or val"):
            find_imagenet(root).open("train")
        (root / name).unlink()


def test_what_is_wrong_with_shards_is_told(tmp_path):
    write_shard(tmp_path / "val.tar", [("a", jpeg(9), None)])
    with pytest.raises(DataError, match=r"\.cls is missing for a"):
        ImageNetShards("ImageNet val", [tmp_path / "val.tar"])
    write_shard(tmp_path / "val.tar", [("a", jpeg(9), b"7")])
    with pytest.raises(DataError, match=r"val.tar/a has label 7; expected 0 to 2"):
        ImageNetShards("ImageNet val", [tmp_path / "val.tar"], classes=3)
    (tmp_path / "val.tar").write_bytes((tmp_path / "val.tar").read_bytes()[:700])
    with pytest.raises(DataError, match=r"val\.tar"):
        ImageNetShards("ImageNet val", [tmp_path / "val.tar"])


def test_the_check_names_what_is_missing(layout, tmp_path):
    picture(layout / "val" / TENCH / "b.JPEG")
    (layout / "val" / SHARK / "torn.JPEG").write_bytes(b"\xff\xd8torn")
    report = check_dataset("imagenet", tmp_path)
    assert report.found == 6 + 7
    told = " ".join(report.problems)
    assert "torn.JPEG" in told
    assert "ImageNet val: 3 classes; expected 1000" in told
    empty = check_dataset("imagenet", layout / "val" / TENCH)
    assert "expected imagenet/{train/<class>" in empty.problems[0]
    with pytest.raises(UsageError, match="bench run classification"):
        find_dataset("imagenet", tmp_path)


def test_the_demo_data_are_whole_and_drawn_the_same_every_time(tmp_path, capsys):
    root = build_imagenet_demo(tmp_path / "imagenet", train=2, val=1)
    train, val = (find_imagenet(root).open(split) for split in ("train", "val"))
    check_classes(train, val)
    assert (len(train), len(val), len(train.classes)) == (2 * CLASSES, CLASSES, CLASSES)
    assert imagenet_order(train.classes) is None, "the names are of no real class"
    drawn = draw_class(0, "train", 3, 1)
    stored = train.image(train.items.index(f"{class_name(3)}/{class_name(3)}_00001.JPEG"))
    assert np.abs(stored.astype(int) - drawn).mean() < 8
    assert np.array_equal(drawn, draw_class(0, "train", 3, 1))
    assert not np.array_equal(drawn.shape, draw_class(1, "train", 3, 1).shape)
    more = build_imagenet_demo(tmp_path / "more", train=3, val=1)
    files = [json.loads((folder / "manifest.json").read_text())["files"] for folder in (root, more)]
    assert files[0].items() < files[1].items()
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", "imagenet", "--data", str(root), "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["demo"] is True
    with pytest.raises(UsageError, match="another seed"):
        build_imagenet_demo(root, train=5, val=1)
