"""The command line over bad data, weights and folders: one clear line, the right exit code, no row lost."""

import json
import os
import pickle
import signal
import subprocess
import sys

import cv2
import linbench
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

# Bad data


@pytest.mark.parametrize("command", [("run", "sam-hq", "-b", "vit-t"), ("data", "check", "dis-vd")])
def test_missing_data_root(bench, command):
    assert "does not exist" in bench(*command, "--data", bench.home / "nowhere").error
    assert bench.code == 1


@pytest.mark.parametrize("command", [("run", "sam-hq", "-b", "vit-t"), ("data", "check", "dis-vd")])
def test_half_a_data_root(bench, command):
    (bench.home / "data" / "DIS5K" / "DIS-VD" / "im").mkdir(parents=True)
    assert "DIS5K/DIS-VD/gt" in bench(*command, "--data", bench.home / "data").error
    assert bench.code == 1


def test_folder_without_masks(bench, photos, weights):
    (photos / "gt").rename(photos / "elsewhere")
    assert "neither im/ and gt/" in bench.evaluate(photos, weights).error
    assert bench.code == 1


def test_image_without_its_mask(bench, photos, weights):
    (photos / "gt" / "2.png").unlink()
    assert "2.png" in bench.evaluate(photos, weights).error
    assert bench.code == 1


def test_corrupt_image(bench, photos, weights):
    picture = photos / "im" / "2.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert str(picture) in bench.evaluate(photos, weights).error
    assert "--max-bad 1" in bench.error
    assert bench.code == 1
    assert bench.rows() == {"baseline:box": "failed", "rwkvsam-t": "failed"}

    bench.evaluate(photos, weights, "--max-bad", 1, "--json")
    assert bench.code == 0
    assert [row["metrics"]["n"] for row in json.loads(bench.out)] == [2, 2]


def test_mask_of_another_size(bench, photos, weights):
    cv2.imwrite(str(photos / "gt" / "2.png"), np.zeros((48, 32), np.uint8))
    assert "mask of 32x48 for an image of 64x48" in bench.evaluate(photos, weights).error
    assert bench.code == 1


# Bad weights: the row of the box baseline is kept


class Bomb:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def assert_refused(bench, said):
    assert said in bench.error
    assert bench.error.startswith("error: rwkvsam-t: ")
    assert bench.code == 1
    assert bench.rows() == {"baseline:box": "ok", "rwkvsam-t": "failed"}


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_bomb(bench, photos, zipped):
    path, target = bench.home / "bomb.pth", bench.home / "exploded"
    if zipped:
        torch.save({"state_dict": Bomb(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    bench.evaluate(photos, path)
    assert_refused(bench, "refused")
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_weights(bench, photos, weights, suffix):
    path = bench.home / f"half{suffix}"
    if suffix == ".pth":
        torch.save(linbench.create_system("rwkvsam-t").state_dict(), path)
    else:
        path.write_bytes(weights.read_bytes())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    bench.evaluate(photos, path)
    assert_refused(bench, "download it again")


def test_weights_of_another_model(bench, photos):
    path = bench.home / "vit.safetensors"
    save_file(linbench.create_backbone("vit-t").state_dict(), path)
    bench.evaluate(photos, path)
    assert_refused(bench, "not of this System")


def test_missing_weights(bench, photos):
    assert "weights not found" in bench.evaluate(photos, bench.home / "nothing.pth").error
    assert bench.code == 1


def test_unknown_timm_model(bench, photos, weights):
    bench("run", "sam-hq", "-b", "timm:resnet_18", "--weights", weights, "--masks", f"DISCS={photos}")
    assert "Did you mean resnet18" in bench.error
    assert bench.code == 2
    assert bench.rows() == {}


def test_no_demo_weights_for_a_backbone(bench, photos):
    bench("run", "sam-hq", "-b", "vit-t", "--weights", "demo", "--masks", f"DISCS={photos}")
    assert "no demo weights for 'vit-t+sam'" in bench.error
    assert bench.code == 2


# Bad results folder


@pytest.mark.parametrize("command", ["run", "latency"])
def test_unwritable_results_folder(bench, photos, weights, command):
    blocked = bench.home / "a-file"
    blocked.write_text("")
    bench.results = blocked / "results"
    if command == "run":
        bench.evaluate(photos, weights, "--results", bench.results)
    else:
        bench("latency", "-b", "vit-t", "--res", "32", "--results", bench.results)
    assert f"cannot write results under {bench.results}" in bench.error
    assert bench.code == 1


def test_a_request_to_end_leaves_an_interrupted_row(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from linbench.cli import main; main()", "latency", "-b", "vit-t", "--res", "512"),
            *("--threads", "1", "--rounds", "1000", "--budget", "1000", "--results", str(tmp_path)),
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "LINBENCH_CACHE": str(tmp_path)},
    )
    seen = []
    while "round" not in (seen or [""])[-1]:
        seen.append(process.stderr.readline())
        assert process.poll() is None, seen
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished rows are kept" in err
    assert "Traceback" not in err
    (path,) = (tmp_path / "runs").rglob("*.json")
    assert json.loads(path.read_text())["status"] == "interrupted"


def test_interrupt_says_that_rows_are_kept(bench, monkeypatch):
    from linbench.suites import inventory

    def interrupted(what):
        raise KeyboardInterrupt

    monkeypatch.setattr(inventory, "inventory", interrupted)
    bench("list", "suites")
    assert bench.code == 130
    assert "finished rows are kept" in bench.err
