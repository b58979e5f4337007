"""`bench predict`: what it writes, and what it does not do twice."""

import json

import cv2
import numpy as np
import pytest
from linbench.cli import main
from linbench.heads.run_lengths import decode_mask
from linbench.suites.predict import run as engine
from linbench.suites.predict.record import ResultFiles

BOX = "8,6,40,36"


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
