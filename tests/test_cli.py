"""The command line: listings, plans, one clear line and the right exit code for bad input, finished rows kept."""

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
from linbench.cli import main
from safetensors.torch import save_file


class Bench:
    """Runs `bench` in this process, away from the user's folders, and keeps what it said."""

    def __init__(self, capsys, home):
        self.capsys = capsys
        self.home = home
        self.results = home / "results"
        self.code = self.out = self.err = None

    def __call__(self, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        self.code = stop.value.code or 0
        self.out, self.err = self.capsys.readouterr()
        assert "Traceback" not in self.out + self.err
        return self

    @property
    def error(self):
        """The one line that begins with `error:`."""
        assert self.code != 0
        lines = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0], "nothing comes after the error"
        return lines[0]

    def rows(self):
        """Status by backbone of the stored rows."""
        stored = [json.loads(path.read_text()) for path in (self.results / "runs").rglob("*.json")]
        return {row["cell"]["backbone"]: row["status"] for row in stored}


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINBENCH_DATA", raising=False)
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    return Bench(capsys, tmp_path)


@pytest.fixture
def photos(draw_discs, tmp_path):
    return draw_discs(tmp_path / "photos", "im", "gt", 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of the system rwkvsam-t: random, but whole."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "rwkvsam-t.safetensors"
    state = linbench.create_system("rwkvsam-t").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def evaluate(bench, photos, weights, *more):
    return bench(
        *("run", "sam-hq", "-b", "rwkvsam-t", "--weights", weights, "--masks", f"DISCS={photos}", "--frame", 64), *more
    )


# What works


def test_version(bench):
    assert bench("--version").out == f"linbench {linbench.__version__}\n"
    assert bench.code == 0


@pytest.mark.parametrize("what", ["backbones", "systems", "refine", "suites", "datasets", "recipes", "kernels"])
def test_list(bench, what):
    records = json.loads(bench("list", what, "--json").out)
    assert bench.code == 0
    assert records
    assert all(isinstance(record, dict) for record in records)
    first = next(iter(records[0].values()))
    assert first in bench("list", what).out


def test_list_without_a_word_says_which_there_are(bench):
    bench("list")
    assert bench.code == 2
    assert "Expected one of backbones, systems" in bench.err


def test_recipes_of_every_suite_that_trains_are_listed(bench):
    records = json.loads(bench("list", "recipes", "--json").out)
    assert {record["suite"] for record in records if record["name"] == "paper"} == {
        *("sam-hq", "classification", "ade20k", "ablation-fusion", "ablation-encoder", "ablation-distill"),
    }


def test_list_backbones_names_every_backbone_with_its_count(bench):
    records = {record["name"]: record for record in json.loads(bench("list", "backbones", "--json").out)}
    assert set(linbench.list_backbones()) < set(records)
    assert records["rwkvsam-s"]["parameters"] == 19_727_296


@pytest.mark.parametrize(
    "command",
    [
        *((), ("run",), ("latency",), ("compare",), ("kernels",), ("report",), ("list",)),
        *(("data", "check"), ("doctor",)),
    ],
)
def test_help_has_examples(bench, command):
    bench(*command, "--help")
    assert bench.code == 0
    assert "Example" in bench.out


def test_doctor(bench):
    found = json.loads(bench("doctor", "--json").out)
    assert bench.code == (1 if found["faults"] else 0)
    assert {"Versions", "Devices", "Data sets", "Folders"} <= set(found["sections"])


def test_weights_are_evaluated_and_the_rows_stored(bench, photos, weights):
    evaluate(bench, photos, weights, "--json")
    assert bench.code == 0, bench.err
    rows = json.loads(bench.out)
    assert [(row["cell"]["backbone"], row["status"]) for row in rows] == [("baseline:box", "ok"), ("rwkvsam-t", "ok")]
    assert all(0 <= row["metrics"]["DISCS/miou"] <= 100 for row in rows)
    assert bench.rows() == {"baseline:box": "ok", "rwkvsam-t": "ok"}
    assert (bench.results / "tables" / "table3.md").is_file()

    evaluate(bench, photos, weights)
    assert bench.code == 0
    assert len(list((bench.results / "runs").rglob("*.json"))) == 2, "finished rows are not measured again"
    assert bench("report").code == 0
    assert "table3.md" in bench.out


def test_demo_data_are_drawn_where_no_data_are_given(bench, photos, weights, monkeypatch):
    from linbench.suites.sam_hq import sets

    def drawn(*_, progress, **__):
        progress(1, 3)
        (bench.home / "demo" / "COIFT").mkdir(parents=True)
        (photos / "im").rename(bench.home / "demo" / "COIFT" / "images")
        (photos / "gt").rename(bench.home / "demo" / "COIFT" / "masks")
        return bench.home / "demo"

    monkeypatch.setattr(sets, "build_demo", drawn)
    bench("run", "sam-hq", "-b", "rwkvsam-t", "--weights", weights, "--datasets", "coift", "--frame", 64)
    assert bench.code == 0, bench.err
    assert "drawing demo data 1/3" in bench.err
    assert "demo" in bench.out


def test_dry_run_measures_nothing_and_knows_what_is_done(bench, photos, weights):
    evaluate(bench, photos, weights, "--dry-run", "--json")
    assert [record["state"] for record in json.loads(bench.out)] == ["to do", "to do"]
    assert not bench.results.exists()


def test_rows_that_came_along_stop_no_measurement(bench, photos, weights, monkeypatch):
    evaluate(bench, photos, weights)
    monkeypatch.setenv("LINBENCH_CACHE", str(bench.home / "new user"))
    evaluate(bench, photos, weights)
    assert len(list((bench.results / "runs").rglob("*.json"))) == 4


def test_latency_dry_run(bench):
    bench("latency", "--res", "64..128:32", "-b", "rwkvsam-t,vit-t", "--attention", "sdpa,eager", "--dry-run", "--json")
    plan = [(record["backbone"], record["res"], record.get("attention")) for record in json.loads(bench.out)]
    assert len(plan) == 9
    assert ("vit-t", 96, "eager") in plan
    assert ("rwkvsam-t", 128, None) in plan
    assert not bench.results.exists()


@pytest.mark.slow
def test_latency_measures_and_reports(bench):
    bench("latency", "--res", "32,64", "-b", "vit-t", "--threads", 1, "--rounds", 1, "--budget", 0.2)
    assert bench.code == 0, bench.err
    assert "vit-t" in bench.out
    assert list((bench.results / "figures").glob("figure3*"))


def test_one_table_is_written_and_shown(bench, photos, weights):
    evaluate(bench, photos, weights)
    shown = bench("report", "--table", 3).out
    assert shown.count("| rwkvsam-t") == 1
    assert {path.name for path in (bench.results / "tables").iterdir()} >= {"table3.md", "table3.csv", "table3.tex"}
    assert "no rows of table kernels" in bench("report", "--table", "kernels").error
    assert "expected one of " in bench("report", "--table", "seven").error


def test_a_folder_of_options_in_a_file(bench):
    (bench.home / "linbench.toml").write_text('data = "/nowhere/at/all"\n')
    assert "/nowhere/at/all" in bench("data", "check", "coift").error


# Bad input: exit code 2, nothing measured


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "Missing command"),
        (("run", "sam-hq"), "--backbone"),
        (("run", "sam-hq", "-b", "vit-s", "--seed", "one"), "--seed"),
        (("measure",), "No such command 'measure'"),
        (("data",), "Missing command"),
        (("latency", "-b", "vit-s", "--threads", "0"), "--threads"),
        (("run", "sam-hq", "-b", "rwkvsam-small"), "Did you mean rwkvsam-s"),
        (("run", "sam-hq", "-b", ","), "no backbone or system given"),
        (("run", "sam_hq", "-b", "vit-s"), "Did you mean sam-hq"),
        (("run", "latency", "-b", "vit-s"), "bench latency"),
        (("run", "sam-hq", "-b", "vit-s", "--set", "joint.lr"), "key=value"),
        (("run", "sam-hq", "-b", "vit-s", "--set", "joint.learning=1"), "no key 'joint.learning'"),
        (("run", "sam-hq", "-b", "vit-s", "--set", "joint.lr=fast"), "joint.lr"),
        (("run", "sam-hq", "-b", "vit-s", "--recipe", "missing.toml"), "unknown recipe"),
        (("run", "sam-hq", "-b", "vit-s", "--recipe", "broken.toml"), "no valid TOML"),
        (("run", "sam-hq", "-b", "vit-s", "--masks", "photos"), "NAME=FOLDER"),
        (("run", "sam-hq", "-b", "vit-s", "--masks", "A=x", "--masks", "A=y"), "twice"),
        (("run", "sam-hq", "-b", "vit-s", "--train-masks", "A=x"), "--masks"),
        (("run", "sam-hq", "-b", "vit-s", "--frame", "100"), "multiple of 32"),
        (("run", "sam-hq", "-b", "vit-s", "--limit", "0"), "--limit"),
        (("run", "sam-hq", "-b", "vit-s", "--protocol", "coco"), "protocol"),
        (("latency", "-b", "vit_s"), "Did you mean vit-s"),
        (("latency", "-b", "vit-s", "--res", "512..x"), "expected A..B"),
        (("latency", "-b", "vit-s", "--res", "2048..512"), "below the start"),
        (("latency", "-b", "vit-s", "--res", "500"), "multiple of 16"),
        (("latency", "-b", "vit-s", "--res", "512..1000:256"), "do not reach"),
        (("latency", "-b", "vit-s", "--attention", "flash"), "flash"),
        (("latency",), "no backbone given"),
        (("latency", "-b", "vit-s", "--batch", "1,many"), "batch is many"),
        (("latency", "-b", "vit-s", "--compile", "fast"), "none, default, max-autotune, graphs"),
        (("latency", "-b", "vit-s", "--stage", "e2e"), "--system vit-s+sam"),
        (("latency", "--system", "rwkvsam"), "Did you mean rwkvsam-"),
        (("latency", "--system", "rwkvsam-s", "--prompts", "few"), "--prompts"),
        (("latency", "-b", "vit-s", "--tf32"), "--tf32"),
        (("compare", "vit-s", "rwkvsam-s"), "no latency rows of 'vit-s'"),
        (("compare", "vit-s@res", "rwkvsam-s"), "NAME@param=value"),
        (("latency", "-b", "vit-s", "--dtype", "int8"), "int8"),
        (("latency", "-b", "vit-s", "--device", "tpu"), "tpu"),
        (("latency", "-b", "vit-s", "--rounds", "0"), "rounds"),
        (("list", "backbone"), "Did you mean backbones"),
        (("report",), "measure first"),
        (("data", "check", "coitf"), "coift"),
        (("data", "check", "coift"), "LINBENCH_DATA"),
    ],
)
def test_usage_errors(bench, arguments, said):
    (bench.home / "broken.toml").write_text("[joint\nlr = ")
    assert said in bench(*arguments).error
    assert bench.code == 2
    assert bench.rows() == {}


def test_bad_configuration_file(bench):
    (bench.home / "linbench.toml").write_text("dataroot = 3\n")
    assert "linbench.toml" in bench("data", "check", "coift").error
    assert bench.code == 2


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
    assert "neither im/ and gt/" in evaluate(bench, photos, weights).error
    assert bench.code == 1


def test_image_without_its_mask(bench, photos, weights):
    (photos / "gt" / "2.png").unlink()
    assert "2.png" in evaluate(bench, photos, weights).error
    assert bench.code == 1


def test_corrupt_image(bench, photos, weights):
    picture = photos / "im" / "2.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert str(picture) in evaluate(bench, photos, weights).error
    assert "--max-bad 1" in bench.error
    assert bench.code == 1
    assert bench.rows() == {"baseline:box": "failed", "rwkvsam-t": "failed"}

    evaluate(bench, photos, weights, "--max-bad", 1, "--json")
    assert bench.code == 0
    assert [row["metrics"]["n"] for row in json.loads(bench.out)] == [2, 2]


def test_mask_of_another_size(bench, photos, weights):
    cv2.imwrite(str(photos / "gt" / "2.png"), np.zeros((48, 32), np.uint8))
    assert "mask of 32x48 for an image of 64x48" in evaluate(bench, photos, weights).error
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
    evaluate(bench, photos, path)
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
    evaluate(bench, photos, path)
    assert_refused(bench, "download it again")


def test_weights_of_another_model(bench, photos):
    path = bench.home / "vit.safetensors"
    save_file(linbench.create_backbone("vit-t").state_dict(), path)
    evaluate(bench, photos, path)
    assert_refused(bench, "not of this System")


def test_missing_weights(bench, photos):
    assert "weights not found" in evaluate(bench, photos, bench.home / "nothing.pth").error
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
        evaluate(bench, photos, weights, "--results", bench.results)
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
