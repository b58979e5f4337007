"""The command line: listings, plans, finished rows kept, one clear line for options that cannot be meant."""

import json

import linbench
import pytest


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
    bench.evaluate(photos, weights, "--json")
    assert bench.code == 0, bench.err
    rows = json.loads(bench.out)
    assert [(row["cell"]["backbone"], row["status"]) for row in rows] == [("baseline:box", "ok"), ("rwkvsam-t", "ok")]
    assert all(0 <= row["metrics"]["DISCS/miou"] <= 100 for row in rows)
    assert bench.rows() == {"baseline:box": "ok", "rwkvsam-t": "ok"}
    assert (bench.results / "tables" / "table3.md").is_file()

    bench.evaluate(photos, weights)
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
    bench.evaluate(photos, weights, "--dry-run", "--json")
    assert [record["state"] for record in json.loads(bench.out)] == ["to do", "to do"]
    assert not bench.results.exists()


def test_rows_that_came_along_stop_no_measurement(bench, photos, weights, monkeypatch):
    bench.evaluate(photos, weights)
    monkeypatch.setenv("LINBENCH_CACHE", str(bench.home / "new user"))
    bench.evaluate(photos, weights)
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
    bench.evaluate(photos, weights)
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
        (("results",), "Missing command"),
        (("run", "sam-hq", "-b", "vit-s", "--seed", "-1"), "--seed"),
        (("data", "demo", "--workers", "-1"), "--workers"),
        (("latency", "-b", "vit-s", "--threads", "0"), "--threads"),
        (("latency", "-b", "vit-s", "--threads", "999999"), "--threads"),
        (("latency", "-b", "vit-s", "--budget", "nan"), "budget_s"),
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
        (("compare", "81be39d", "rwkvsam-s"), "two of a kind"),
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
