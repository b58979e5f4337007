"""The paper's three stages as one run: what each starts from, what is done again, what `bench train` leaves."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from linbench.backbones.weights import read_checkpoint
from linbench.cli import main
from linbench.errors import UsageError
from linbench.results.store import Store
from linbench.suites.classification.recipes import RECIPES as IMAGENET
from linbench.suites.data.demo.build import build_demo
from linbench.suites.data.demo.imagenet import build_imagenet_demo
from linbench.suites.data.demo.layouts import DemoCounts
from linbench.suites.rwkvsam import SUITE, RwkvSamOptions
from linbench.suites.training.recipes import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    *("frame=64", "eval_frame=64", "precision=fp32", "loss.points=64", "augmentation.min_area=4"),
    *("distill.steps=2", "distill.images=2", "distill.max_minutes=none"),
    *("joint.steps=2", "joint.images=2", "joint.max_minutes=none"),
]
FIRST = ["size=32", "eval_size=32", "precision=fp32", "train.steps=2", "train.images=2", "train.max_minutes=none"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Real layouts with a few drawn images in each."""
    root = tmp_path_factory.mktemp("data")
    build_demo(root / "all", counts=DemoCounts(4, 2, 1, 1, 1, 1, 1), workers=1)
    build_imagenet_demo(root / "all" / "imagenet", train=1, val=1)
    return root / "all"


@pytest.fixture
def options(root, tmp_path):
    return RwkvSamOptions(
        imagenet=load_recipe("demo", FIRST, IMAGENET),
        recipe=load_recipe("demo", TINY),
        data=root,
        distill_data=str(root / "imagenet" / "val"),
        limit=1,
        workers=0,
        cache=tmp_path / "cache",
    )


def states(options, store):
    return [record["state"] for record in SUITE.listing(options, store)]


def test_each_stage_starts_from_the_weights_before_it_and_is_done_once(options, tmp_path):
    store = Store(tmp_path / "results")
    assert states(options, store) == ["to do", "to do, after imagenet", "to do, after imagenet"]
    rows = list(SUITE.run(options, store=store))
    assert [row.cell.suite for row in rows] == ["classification", "distill", "sam-hq", "sam-hq"]
    assert [row.status for row in rows] == ["ok"] * 4
    classified, distilled, _, trained = rows
    assert states(options, store) == ["done"] * 3
    paths = [record["weights"] for record in SUITE.listing(options, store)]
    assert distilled.cell.params["student_sha256"] == classified.provenance["run"]["trained_weights_sha256"]
    assert trained.cell.params["teacher_sha256"] == distilled.provenance["run"]["trained_weights_sha256"]
    assert trained.provenance["run"]["steps"] == {"joint": 2}, "what was distilled is not distilled again"
    first, second, third = map(read_checkpoint, paths)
    name = next(key for key, value in second.items() if key.startswith("backbone.layers") and value.ndim == 2)
    moved = [(one[name] - other[name]).abs().max() for one, other in ((first, second), (second, third))]
    assert all(0 < step < 0.02 for step in moved), "two steps from where it was, not from random weights"

    again = list(SUITE.run(options, store=store))
    assert [row.created_utc for row in again] == [row.created_utc for row in rows]
    Path(paths[1]).unlink()
    assert states(options, store) == ["done", "to do again, its weights are gone", "to do, after distill"]
    mended = list(SUITE.run(options, store=store))
    assert [new.created_utc == old.created_utc for new, old in zip(mended, rows, strict=True)] == [
        True,
        False,
        True,
        True,
    ], "the same weights again, so what follows stands"
    torch.testing.assert_close(read_checkpoint(paths[1])[name], second[name], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"stages": ("imagenet", "joint")}, "follow one another"),
        ({"stages": ("joint", "distill")}, "follow one another"),
        ({"stages": ()}, "follow one another"),
        ({"stages": ("imagenet", "finetune")}, "finetune"),
        ({"size": "l"}, "t, s, b"),
        ({"start": "w.safetensors"}, "--start"),
    ],
)
def test_stages_that_cannot_be_meant_are_refused(options, changes, word):
    with pytest.raises(UsageError, match=word):
        replace(options, **changes)


def test_train_leaves_weights_that_run_scores(root, tmp_path, capsys):
    arguments = ["classification", "-b", "rwkvsam-t", "--data", str(root), "--cache", str(tmp_path / "cache")]
    arguments += ["--results", str(tmp_path / "results"), "--limit", "4", "--workers", "0", "--threads", "1"]
    arguments += [part for change in FIRST for part in ("--set", change)]
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments, "--json"])
    assert ended.value.code == 0
    (path,) = json.loads(capsys.readouterr().out)
    weights = read_checkpoint(path)
    assert not list((tmp_path / "results").rglob("*.json")), "nothing was measured"
    with pytest.raises(SystemExit) as ended:
        main(["run", *arguments, "--json"])
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["provenance"]["run"]["steps"] == {"train": 2}
    for name, value in read_checkpoint(path).items():
        assert torch.equal(value, weights[name]), "the run goes on from the training that is there"
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments, "--weights", str(path)])
    assert ended.value.code == 2
    assert "leave it out" in capsys.readouterr().err


def test_two_processes_of_a_command_leave_one_row_with_the_scores_of_one(root, tmp_path):
    """`torchrun -m linbench.cli run classification ...` on the CPU."""
    arguments = ["run", "classification", "-b", "vit-t", "--data", str(root), "--workers", "0", "--threads", "1"]
    arguments += [part for change in FIRST for part in ("--set", change)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--cache", str(tmp_path / "one"), "--results", str(tmp_path / "one")])
    assert ended.value.code == 0
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    folder = str(tmp_path / "two")
    found = subprocess.run(
        [*launcher, "--rdzv-endpoint", "localhost:0", "-m", "linbench.cli", *arguments, "--cache", folder, "--results",
         folder],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("vit-t") == 1, "one process shows the table"
    ((one,), (two,)) = (Store(tmp_path / name).rows() for name in ("one", "two"))
    assert (one.provenance["run"]["processes"], two.provenance["run"]["processes"]) == (1, 2)
    assert one.cell.key == two.cell.key
    assert two.samples["names"] == one.samples["names"]
    assert two.samples["curve/train loss"] == pytest.approx(one.samples["curve/train loss"], abs=1e-4)
    assert two.samples["predicted"] == one.samples["predicted"]
    assert two.samples["loss"] == pytest.approx(one.samples["loss"], abs=1e-4)
