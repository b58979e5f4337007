"""`bench predict`: what it writes, what it does not do twice, and images and prompts that are no good."""

import json

import cv2
import numpy as np
import pytest
from linbench.cli import main
from linbench.errors import DataError, UsageError
from linbench.heads.run_lengths import decode_mask
from linbench.suites.predict import run as engine
from linbench.suites.predict.overlay import COLOURS, Overlay
from linbench.suites.predict.pictures import everything_pictures
from linbench.suites.predict.prompts import Prompt, parse_prompts, read_prompts
from linbench.suites.predict.record import ResultFiles
from PIL import Image

BOX = "8,6,40,36"
FRAME = ("--frame", 64)


class Run:
    """Runs `bench predict` in this process and keeps what it said."""

    def __init__(self, capsys, home):
        self.capsys, self.home = capsys, home
        self.code = self.out = self.err = None

    def __call__(self, *arguments):
        with pytest.raises(SystemExit) as stop:
            main(["predict", *(str(argument) for argument in arguments), *map(str, FRAME)])
        self.code = stop.value.code or 0
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.out + self.err
        return self

    def record(self, stem="0", out="predictions"):
        return json.loads((self.home / out / f"{stem}.json").read_text())

    def states(self, *arguments):
        self(*arguments, "--json")
        return {row["image"]: row["state"] for row in json.loads(self.out)["images"]}


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "RESULTS"):
        monkeypatch.delenv(f"LINBENCH_{name}", raising=False)
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    return Run(capsys, tmp_path)


@pytest.fixture
def photos(draw_discs, tmp_path):
    return draw_discs(tmp_path / "photos", "im", "gt", 3) / "im"


@pytest.fixture(scope="module", autouse=True)
def one_system():
    """Build each system once for all tests; they would build the same one again and again."""
    built = {}

    def build(name, *, weights):
        return built.setdefault((name, weights), create(name, weights=weights))

    create = engine.create_system
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "create_system", build)
        yield


# What works


def test_help_has_examples(bench):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--help"])
    assert not stop.value.code
    assert "bench predict photo.jpg --box 10,20,200,300" in bench.capsys.readouterr().out


def test_box(bench, photos):
    bench(photos / "0.png", "--box", BOX)
    assert bench.code == 0, bench.err
    assert "0.png" in bench.out
    record, folder = bench.record(), bench.home / "predictions"
    assert sorted(path.name for path in folder.iterdir()) == ["0-mask.png", "0-overlay.png", "0.json"]
    (mask,) = record["masks"]
    assert record["files"] == ["0-mask.png", "0-overlay.png"]
    assert record["size"] == mask["rle"]["size"] == [48, 64]
    assert record["prompts"] == [{"box": [8.0, 6.0, 40.0, 36.0]}]
    assert (record["system"], record["weights"]) == ("rwkvsam-t", "demo")
    assert len(record["weights_sha256"]) == len(record["image_sha256"]) == 64
    assert set(record["seconds"]) == {"read", "encode", "decode", "postprocess"}
    assert all(0 <= value < 60 for value in record["seconds"].values())
    assert record["provenance"]["packages"]["torch"]
    drawn = cv2.imread(str(folder / "0-mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(drawn, decode_mask(mask["rle"]) * np.uint8(255))
    assert mask["area"] == (drawn > 0).sum()
    overlay = cv2.imread(str(folder / "0-overlay.png"))
    assert overlay.shape == (480, 640, 3)


def test_it_is_what_the_predictor_says(bench, photos):
    from linbench import Predictor, create_system
    from linbench.suites.data.decode import read_image

    bench(photos / "1.jpg", "--box", BOX, "--box", "20,20,50,40")
    predictor = Predictor(create_system("rwkvsam-t", weights="demo"), frame=64)
    predictor.set_image(read_image(photos / "1.jpg"))
    masks, scores, _ = predictor.predict(box=[[8, 6, 40, 36], [20, 20, 50, 40]])
    for number, fact in enumerate(bench.record("1")["masks"]):
        assert fact["prompt"] == number
        np.testing.assert_array_equal(decode_mask(fact["rle"]), masks[number, 0])
        assert fact["score"] == pytest.approx(float(scores[number, 0]), abs=1e-5)


def test_folders_patterns_and_several_prompts(bench, photos):
    states = bench.states(photos, str(photos / "*.png"), "--box", BOX, "--box", "1,1,20,20", "--out", "out")
    assert states == {"0.png": "new", "1.jpg": "new", "2.png": "new"}
    assert bench.record("1", "out")["files"] == ["1-mask-1.png", "1-mask-2.png", "1-overlay.png"]


def test_points_and_a_prompts_file(bench, photos):
    bench(photos / "0.png", "--point", "20,22,1", "--point", "2,2,0", "--box", BOX)
    assert bench.record()["prompts"] == [{"box": [8, 6, 40, 36], "points": [[20, 22], [2, 2]], "labels": [1, 0]}]
    prompts = {
        "0.png": {
            "boxes": [[8, 6, 40, 36], [1, 1, 9, 9]],
            "points": [[[20, 22]], [[3, 3], [5, 5]]],
            "labels": [[1], [1, 0]],
        },
        str(photos / "1.jpg"): {"points": [[20, 22]], "labels": [1]},
        "elsewhere.png": {"boxes": [[0, 0, 1, 1]]},
    }
    (bench.home / "prompts.json").write_text(json.dumps(prompts))
    bench(photos, "--prompts", "prompts.json", "--box", "5,5,30,30", "--out", "out")
    assert bench.code == 0, bench.err
    assert "elsewhere.png" in bench.err
    assert [fact["prompt"] for fact in bench.record("0", "out")["masks"]] == [0, 1]
    assert bench.record("1", "out")["prompts"] == [{"points": [[20, 22]], "labels": [1]}]
    assert bench.record("2", "out")["prompts"] == [{"box": [5, 5, 30, 30]}]


def test_a_box_is_cut_at_the_edges(bench, photos):
    bench(photos / "0.png", "--box=-50,-3,1000,1000")
    assert bench.code == 0, bench.err
    assert bench.record()["prompts"] == [{"box": [0, 0, 64, 48]}]


def test_everything(bench, photos):
    options = ("--everything", "--points-per-side", 3, "--stability", 0.1, "--min-area", 2)
    bench(photos / "0.png", *options)
    assert bench.code == 0, bench.err
    record, folder = bench.record(), bench.home / "predictions"
    assert record["files"] == ["0-labels.png", "0-overlay.png"]
    assert record["everything"]["points_per_side"] == 3
    assert record["everything"]["quality_threshold"] is None
    assert record["masks"]
    labels = cv2.imread(str(folder / "0-labels.png"), cv2.IMREAD_UNCHANGED)
    union = np.any([decode_mask(mask["rle"]) for mask in record["masks"]], axis=0)
    np.testing.assert_array_equal(labels > 0, union)
    assert bench.states(photos / "0.png", *options) == {"0.png": "there already"}
    assert bench.states(photos / "0.png", *options[:3]) == {"0.png": "new"}


# What is there is not made again


def test_resume(bench, photos, monkeypatch):
    run = (photos, "--box", BOX)
    assert set(bench.states(*run).values()) == {"new"}
    with monkeypatch.context() as patch:
        patch.setattr(engine, "create_system", lambda *_, **__: pytest.fail("no system is built for what is there"))
        assert set(bench.states(*run).values()) == {"there already"}
    assert set(bench.states(*run, "--again").values()) == {"new"}
    assert set(bench.states(photos, "--box", "9,6,40,36").values()) == {"new"}
    assert set(bench.states(photos, "--box", "9,6,40,36", "--dtype", "bf16").values()) == {"new"}
    other = np.zeros((48, 64, 3), np.uint8)
    cv2.imwrite(str(photos / "2.png"), other)
    (bench.home / "predictions" / "0-mask.png").unlink()
    (bench.home / "predictions" / "1.json").write_text("{")
    run = (photos, "--box", "9,6,40,36", "--dtype", "bf16")
    assert bench.states(*run) == dict.fromkeys(("0.png", "1.jpg", "2.png"), "new")


def test_pictures_of_an_earlier_run_go_and_nothing_else(bench, photos):
    bench(photos / "0.png", "--box", BOX, "--box", "1,1,20,20")
    folder = bench.home / "predictions"
    own, secret = folder / "0-notes.png", bench.home / "secret.png"
    own.write_text("the user's")
    secret.write_text("the user's")
    record = bench.record()
    record["files"] += ["../secret.png", "0.json", "0-/../../secret.png", 7]
    (folder / "0.json").write_text(json.dumps(record))
    bench(photos / "0.png", "--box", BOX)
    assert sorted(path.name for path in folder.iterdir()) == ["0-mask.png", "0-notes.png", "0-overlay.png", "0.json"]
    assert secret.exists()


def test_a_run_that_was_cut_off_is_not_taken_for_finished(tmp_path):
    files = ResultFiles(tmp_path, "a")
    files.write({"key": "k"}, [("mask", np.zeros((2, 2), np.uint8))])
    assert files.finished("k")
    assert not files.finished("other")

    def broken():
        yield "mask", np.ones((2, 2), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write({"key": "k"}, broken())
    assert not files.finished("k")


# Images of every kind


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


# The parts


def test_prompts_of_options():
    assert parse_prompts(["1,2,3,4", " 5,6,7,8 "], []) == (Prompt((1, 2, 3, 4)), Prompt((5, 6, 7, 8)))
    assert parse_prompts([], ["1.5,2,1", "3,4,0"]) == (Prompt(None, ((1.5, 2), (3, 4)), (1, 0)),)
    with pytest.raises(DataError, match="outside"):
        Prompt((0, 0, 5, 5), ((11, 3),), (1,)).inside(10, 10)


@pytest.mark.parametrize("ground", [*COLOURS, (0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_outlines_are_seen_on_every_colour(ground):
    image = np.full((480, 640, 3), ground, np.uint8)
    mask = np.zeros((480, 640), bool)
    mask[100:300, 200:400] = True
    for colour in COLOURS:
        overlay = Overlay(image)
        overlay.draw_mask(mask, colour)
        overlay.draw_prompt(Prompt((150, 50, 500, 400), ((300, 200),), (1,)), colour)
        for place in ((slice(95, 105), 300), (200, slice(395, 405)), (slice(45, 55), 300), (200, slice(300, 320))):
            shown = overlay.canvas[place].reshape(-1, 3).astype(int)
            assert np.abs(shown[:, None] - shown[None]).max() > 100
            assert np.abs(shown - ground).max() > 80


@pytest.mark.parametrize(
    ("size", "drawn"), [((1, 1), (640, 640)), ((3000, 6000), (1024, 2048)), ((700, 900), (700, 900))]
)
def test_overlays_have_a_size_to_look_at(size, drawn):
    mask = np.ones(size, bool)
    overlay = Overlay(np.zeros((*size, 3), np.uint8))
    overlay.draw_mask(mask, COLOURS[0])
    overlay.draw_number(12, (0, 0), COLOURS[0])
    assert overlay.canvas.shape == (*drawn, 3)
    assert overlay.canvas.max() > 80


def test_a_thin_mask_is_seen_in_a_small_picture():
    mask = np.zeros((4000, 6000), bool)
    mask[1500:1501] = True
    overlay = Overlay(np.zeros((4000, 6000, 3), np.uint8))
    overlay.draw_mask(mask, COLOURS[0])
    assert (overlay.canvas.max(2) > 80).sum() > 1500


def test_more_than_255_masks_in_a_label_map():
    from linbench.heads.run_lengths import encode_mask

    masks = np.eye(400, dtype=bool).reshape(400, 20, 20)
    facts = [{"rle": encode_mask(mask), "area": 1} for mask in masks]
    facts.append({"rle": encode_mask(np.ones((20, 20), bool)), "area": 400})
    name, labels = next(everything_pictures(np.zeros((20, 20, 3), np.uint8), facts))
    assert (name, labels.dtype) == ("labels", np.uint16)
    np.testing.assert_array_equal(labels.reshape(-1), np.arange(1, 401))
