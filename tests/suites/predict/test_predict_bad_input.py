"""`bench predict` on images of every kind, and on images and prompts that are no good."""

import json

import numpy as np
import pytest
from linbench.errors import UsageError
from linbench.suites.predict import run as engine
from linbench.suites.predict.prompts import read_prompts
from PIL import Image

BOX = "8,6,40,36"


@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "exif", "dot", "line", "tiff"])
def test_every_kind_of_image(bench, kind):
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    path, size, options = bench.home / "x.png", [48, 64], {}
    image = Image.fromarray(grey)
    if kind == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif kind == "exif":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
        size = [64, 48]
    elif kind in {"dot", "line"}:
        size = [1, 1 if kind == "dot" else 64]
        image = Image.fromarray(grey[: size[0], : size[1]])
    elif kind == "tiff":
        path = bench.home / "x.tiff"
    else:
        image = image.convert("RGB").convert(kind)
        path = bench.home / ("x.jpg" if kind == "CMYK" else "x.png")
    image.save(path, **options)
    bench(path, "--box", "0,0,64,48")
    assert bench.code == 0, bench.err
    assert bench.record("x")["size"] == size
    assert bench.record("x")["masks"][0]["rle"]["size"] == size


def test_bad_images_are_named_and_the_rest_goes_on(bench, photos):
    (photos / "0.png").write_bytes((photos / "0.png").read_bytes()[:60])
    (photos / "empty.png").write_bytes(b"")
    (photos / "page.jpg").write_text("<html>404</html>")
    bench(photos, "nowhere.jpg", "--box", BOX)
    assert bench.code == 1
    assert bench.err.splitlines()[-1].startswith("error: 4 of 6 images could not be used")
    assert "--max-bad 4" in bench.err
    for name in ("0.png", "empty.png", "page.jpg", "nowhere.jpg"):
        assert sum(line.startswith("left out:") and name in line for line in bench.err.splitlines()) == 1
    assert bench.record("1")["masks"]
    assert bench.record("2")["masks"]
    assert "2.png" in bench.out
    assert bench(photos, "nowhere.jpg", "--box", BOX, "--max-bad", 4).code == 0
    assert bench(photos, "nowhere.jpg", "--box", BOX, "--max-bad", 3).code == 1
    assert bench("nowhere.jpg", "--box", BOX, "--max-bad", 9).code == 1


@pytest.mark.parametrize(
    ("prompt", "said"),
    [(("--box", "70,6,90,36"), "box 70,6,90,36 lies outside"), (("--point", "5,90,1"), "point 5,90 lies outside")],
)
def test_prompts_outside_the_image(bench, photos, prompt, said):
    bench(photos / "0.png", *prompt)
    assert bench.code == 1
    assert f"{photos / '0.png'}: {said} the image of 64x48 pixels" in bench.err


def test_images_without_prompts(bench, photos):
    (bench.home / "prompts.json").write_text('{"0.png": {"boxes": [[8, 6, 40, 36]]}}')
    bench(photos, "--prompts", "prompts.json", "--max-bad", 2)
    assert bench.code == 0
    assert bench.err.count("no prompts for it in prompts.json") == 2


def test_too_little_memory_is_that_images_fault(bench, photos, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 400 GiB")

    monkeypatch.setattr(engine, "segment_prompts", full)
    bench(photos / "0.png", "--box", BOX)
    assert bench.code == 1
    assert "0.png: an image of 64x48 pixels: out of memory" in bench.err


# What cannot be meant


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to segment"),
        (("--everything", "--box", BOX), "--everything takes no prompts"),
        (("--everything", "--multimask"), "leave --multimask"),
        (("--everything", "--points-per-side", 0), "points_per_side"),
        (("--box", BOX, "--points-per-side", 9), "--points-per-side belongs to --everything"),
        (("--box", "1,2,3"), "x0,y0,x1,y1"),
        (("--box", "1,2,3,x"), "x0,y0,x1,y1"),
        (("--box", "9,2,3,4"), "x0 <= x1"),
        (("--box", "nan,2,3,4"), "a box of 4 numbers"),
        (("--point", "1,2"), "x,y,label"),
        (("--point", "1,2,5"), "labels"),
        (("--box", BOX, "--box", BOX, "--point", "1,2,1"), "--prompts"),
        (("--prompts", "nothing.json"), "nothing.json"),
        (("--prompts", "broken.json"), "no valid JSON"),
        (("--box", BOX, "--system", "rwkvsam-x"), "Did you mean"),
        (("--box", BOX, "--system", "vit-s"), "vit-s+sam"),
        (("--box", BOX, "--system", "vit-t+sam", "--weights", "demo"), "no demo weights"),
        (("--box", BOX, "--multimask"), "one mask token"),
        (("--box", BOX, "--choice", "best"), "one mask token"),
        (("--box", BOX, "--choice", "worst"), "single or best"),
        (("--box", BOX, "--device", "tpu"), "tpu"),
        (("--box", BOX, "--dtype", "int8"), "int8"),
        (("--box", BOX, "--max-bad", -1), "--max-bad"),
        (("--box", BOX, "--out", "photos/im"), "lies in the results' folder"),
    ],
)
def test_usage_errors(bench, photos, arguments, said):
    (bench.home / "broken.json").write_text("{")
    bench(photos / "0.png", *arguments)
    assert bench.code == 2, bench.err
    assert bench.err.splitlines()[-1].startswith("error: ")
    assert said in bench.err
    assert not list(bench.home.glob("predictions/*"))


def test_wrong_sources(bench, photos):
    (bench.home / "bare").mkdir()
    assert "no images" in bench("bare", "--box", BOX).err
    assert bench.code == 1
    assert "no image matches" in bench("photos/*.gif", "--box", BOX).err
    assert bench.code == 1
    (photos / "0.jpg").write_bytes((photos / "1.jpg").read_bytes())
    assert "would write the same files" in bench(photos, "--box", BOX).err
    assert bench.code == 2


def test_wrong_weights_and_folders(bench, photos):
    assert "weights not found" in bench(photos, "--box", BOX, "--weights", "no.pth").err
    assert bench.code == 1
    (bench.home / "file").write_text("")
    assert "cannot write results under file/out" in bench(photos, "--box", BOX, "--out", "file/out").err
    assert bench.code == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([1, 2, 3, 4], "boxes, points and labels"),
        ({"box": [1, 2, 3, 4]}, "boxes, points and labels"),
        ({}, "neither boxes nor points"),
        ({"boxes": [1, 2, 3, 4]}, "a box of 4 numbers"),
        ({"boxes": 3}, "boxes is 3; expected a list"),
        ({"points": None, "labels": [1]}, "points is None; expected a list"),
        ({"boxes": [[1, 2, 3, "4"]]}, "a box of 4 numbers"),
        ({"points": [[1, 2]]}, "one label a point"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "one label a point"),
        ({"points": [[1, 2]], "labels": [2]}, "foreground"),
        ({"points": [[1, 2, 3]], "labels": [1]}, "a point of 2 numbers"),
        ({"boxes": [[1, 2, 3, 4]] * 2, "points": [[1, 2]], "labels": [1]}, "one list for each box"),
    ],
)
def test_wrong_prompt_files(tmp_path, entry, said):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"a.jpg": entry}))
    with pytest.raises(UsageError, match=f"a.jpg: .*{said}"):
        read_prompts(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="expected"):
        read_prompts(path)
