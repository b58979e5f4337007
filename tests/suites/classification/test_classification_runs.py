"""The suite `classification` from data to rows and to the command line."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from linbench.backbones.weights import file_sha256
from linbench.cli import main
from linbench.errors import DataError, UsageError
from linbench.results.store import Store
from linbench.results.tabling.table4 import table4
from linbench.suites.classification import SUITE, ClassificationOptions
from linbench.suites.classification import suite as suite_module
from linbench.suites.classification.recipes import RECIPES
from linbench.suites.classification.stream import ClassStream
from linbench.suites.classification.suite import trained_weights
from linbench.suites.training.recipes import load_recipe
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = load_recipe(
    "demo",
    [
        *("size=32", "eval_size=32", "precision=fp32", "train.steps=25", "train.max_minutes=none"),
        *("train.images=8", "train.warmup_steps=2", "train.lr=2e-3"),
    ],
    RECIPES,
)


@pytest.fixture
def colours(tmp_path):
    """Three classes of plain colour with noise, 8 images to train on and 3 to evaluate each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for place, name in enumerate(("blue", "green", "red")):
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 90, (36, 48, 3), dtype=np.uint8)
                pixels[..., 2 - place] += 150
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "colours"


@pytest.fixture
def options(colours, tmp_path):
    return ClassificationOptions(("vit-t",), recipe=TINY, data=colours, cache=tmp_path / "cache", workers=0, batch=4)


def run(options, store, **arguments):
    return list(SUITE.run(options, store=store, **arguments))


def test_training_learns_and_its_weights_can_be_evaluated_again(options, tmp_path):
    store = Store(tmp_path / "results")
    (row,) = run(options, store)
    assert row.status == "ok"
    assert [row.cell.key] == [cell.key for cell in SUITE.plan(options)]
    assert row.metrics["top1"] >= 80 > row.metrics["top1_before"]
    assert row.metrics["chance_top1"] == pytest.approx(100 / 3)
    assert row.metrics["images"] == len(row.samples["names"]) == 9
    right = [a == b for a, b in zip(row.samples["labels"], row.samples["predicted"], strict=True)]
    assert row.metrics["top1"] == pytest.approx(100 * np.mean(right))
    assert row.samples["class"] == ["blue", "green", "red"]
    assert row.samples["class_images"] == [3, 3, 3]
    losses = row.samples["curve/train loss"]
    assert losses[-1] < losses[0]
    assert row.samples["curve/probe_top1"]
    facts = row.provenance["run"]
    assert facts["steps"] == {"train": 25}
    assert facts["recipe"] == TINY.to_dict()
    weights = trained_weights(row, options.cache)
    assert file_sha256(weights) == facts["trained_weights_sha256"]
    assert not list((weights.parent / "train").glob("step-*")), "checkpoints go once the row is stored"
    (again,) = run(replace(options, weights=str(weights)), store)
    assert again.cell.params["stage"] == "weights-only"
    assert again.cell.params["size"] == 32, "the file says at which size it is meant to be evaluated"
    assert again.samples["logits_sha256"] == row.samples["logits_sha256"]
    (table,) = table4(store.latest())
    assert sum("vit-t" in line[0] for line in table.cells) == 2


def test_finished_rows_are_not_made_again(options, tmp_path, monkeypatch):
    store = Store(tmp_path)
    short = replace(options, recipe=replace(TINY, train=replace(TINY.train, steps=1)))
    (first,) = run(short, store)

    def measured(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(suite_module, "evaluate", measured)
    assert [row.created_utc for row in run(short, store)] == [first.created_utc]
    (failed,) = run(short, store, resume=False)
    assert (failed.status, failed.error) == ("failed", "measured again")
    assert SUITE.plan(replace(short, seed=1))[0].key != first.cell.key


def test_a_timm_model_is_trained_with_its_own_head(options, tmp_path):
    short = replace(options, backbones=("timm:resnet18",), recipe=replace(TINY, train=replace(TINY.train, steps=2)))
    (row,) = run(short, Store(tmp_path / "results"))
    assert row.status == "ok"
    assert row.metrics["params_total"] == 11_176_512 + 3 * 513
    weights = trained_weights(row, short.cache)
    (again,) = run(replace(short, weights=str(weights)), Store(tmp_path / "results"))
    assert again.samples["logits_sha256"] == row.samples["logits_sha256"]


def test_bad_data_are_told_before_anything_is_trained(options, colours, tmp_path):
    store = Store(tmp_path / "results")
    torn = colours / "train" / "red" / "2.png"
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 24 images could not be used: .*2\.png.*--max-bad 1"):
        run(options, store)
    short = replace(options, recipe=replace(TINY, train=replace(TINY.train, steps=3)))
    (row,) = run(replace(short, max_bad=1), store)
    assert row.status == "ok"
    assert "2.png" in row.provenance["run"]["bad_training_images"][0]
    (colours / "val" / "yellow").mkdir()
    with pytest.raises(DataError, match="classes that the training set lacks: yellow"):
        run(options, store)
    (colours / "val" / "yellow").rename(colours / "train" / "yellow")
    with pytest.raises(DataError, match=r"no image .*: yellow"):
        run(options, store)
    assert len(store.rows("classification")) == 1
    for split in ("train", "val"):
        for name in ("green", "red", "yellow"):
            shutil.rmtree(colours / split / name, ignore_errors=True)
    with pytest.raises(DataError, match="one class, blue"):
        run(options, store)


def test_a_training_that_is_over_is_done_again_only_when_asked(options, tmp_path, monkeypatch):
    short = replace(options, recipe=replace(TINY, train=replace(TINY.train, steps=2)))
    seen = []
    draw = ClassStream.__call__

    def noted(self, step, *shares):
        seen.append(step)
        return draw(self, step, *shares)

    monkeypatch.setattr(ClassStream, "__call__", noted)
    for resume in (True, True, False):
        list(SUITE.train(short, store=Store(tmp_path), resume=resume))
    assert seen == [0, 0], "the second call finds the weights, the third starts from the first step"


def test_weights_of_other_classes_give_a_row_that_says_so(options, colours, tmp_path):
    store = Store(tmp_path / "results")
    short = replace(options, recipe=replace(TINY, train=replace(TINY.train, steps=1)))
    (row,) = run(short, store)
    weights = str(trained_weights(row, short.cache))
    for split in ("train", "val"):
        (colours / split / "green").rename(colours / split / "lime")
    (failed,) = run(replace(short, weights=weights), store)
    assert failed.status == "failed"
    assert "output 1 was trained on the class 'green', which is 'lime'" in failed.error
    for split in ("train", "val"):
        (colours / split / "lime").rename(colours / split / "green")
        for file in (colours / split / "green").iterdir():
            file.unlink()
        (colours / split / "green").rmdir()
    (failed,) = run(replace(short, weights=weights), store)
    assert failed.status == "failed"
    assert "2 classes (blue, red, ...) for a head with 3 outputs" in failed.error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbones": ("vit-tt",)}, "Did you mean vit-t"),
        ({"backbones": ()}, "no backbone"),
        ({"kernels": "cuda"}, "leave --kernels cuda out"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"limit": 0}, "--limit is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"seed": 2**64}, "expected 0 or more"),
        ({"size": 50}, "does not take images of 50x50"),
    ],
)
def test_what_cannot_run_is_told(options, tmp_path, change, said):
    store = Store(tmp_path / "results")
    with pytest.raises(UsageError, match=said):
        run(replace(options, **change), store)
    assert store.rows("classification") == []


def test_the_command_plans_evaluates_and_refuses(options, colours, tmp_path, capsys):
    common = ["-b", "vit-t", "--data", str(colours), "--cache", str(tmp_path / "c"), "--results", str(tmp_path / "r")]
    common += ["--workers", "0"]

    def command(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["run", "classification", *common, *arguments])
        found = capsys.readouterr()
        return stop.value.code, found.out, found.err

    code, out, _ = command("--recipe", "paper", "--dry-run", "--json")
    (cell,) = json.loads(out)
    assert code == 0
    assert cell["recipe"] == "paper"
    assert cell["state"] == "to do"
    code, _, err = command("--eval-only")
    assert code == 2
    assert "--eval-only needs weights" in err
    code, out, _ = command(
        "--set", "train.steps=2", "--set", "size=32", "--set", "eval_size=32", "--set", "precision=fp32"
    )
    assert code == 0
    assert "Top-1 accuracy on ImageNet" in out
    assert (tmp_path / "r" / "tables" / "table4.md").is_file()
