"""The suite `sam-hq` from data to rows: training, scores before and after, resume, failures."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from linbench.errors import LinBenchError, UsageError
from linbench.results.store import Store
from linbench.suites.sam_hq import SUITE, SamHqOptions
from linbench.suites.sam_hq import suite as suite_module
from linbench.suites.training.recipes import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = load_recipe(
    "demo",
    [
        *("frame=64", "eval_frame=64", "precision=fp32", "loss.points=256", "augmentation.min_area=4"),
        *("distill.steps=2", "distill.images=2", "distill.max_minutes=none"),
        *("joint.steps=4", "joint.images=2", "joint.max_minutes=none", "joint.warmup_steps=0"),
    ],
)


@pytest.fixture
def discs(draw_discs, tmp_path):
    return draw_discs(tmp_path / "discs", "images", "masks", 10)


@pytest.fixture
def options(discs, tmp_path):
    return SamHqOptions(
        ("rwkvsam-s",), recipe=TINY, masks=(("DISCS", discs),), cache=tmp_path / "cache", device="cpu", gallery=2
    )


def run(options, store, **arguments):
    return list(SUITE.run(options, store=store, **arguments))


def test_training_gives_rows_before_and_after(options, tmp_path):
    store = Store(tmp_path / "results")
    rows = run(options, store)
    assert [(row.cell.backbone, row.cell.params["stage"], row.status) for row in rows] == [
        ("baseline:box", "baseline", "ok"),
        ("rwkvsam-s", "before", "ok"),
        ("rwkvsam-s", "trained", "ok"),
    ]
    assert [row.cell.key for row in rows] == [cell.key for cell in SUITE.plan(options)]
    box, before, trained = rows
    names = box.samples["DISCS/names"]
    assert 0 < len(names) < 10, "some of the ten images are held out"
    for row in rows:
        assert row.samples["DISCS/names"] == names
        assert row.metrics["DISCS/miou"] == pytest.approx(100 * np.mean(row.samples["DISCS/iou"]), abs=1e-3)
        assert row.metrics["DISCS/mbiou"] == pytest.approx(100 * np.mean(row.samples["DISCS/biou"]), abs=1e-3)
    assert before.samples["DISCS/iou"] != trained.samples["DISCS/iou"], "training changed the predictions"
    assert trained.provenance["run"]["steps"] == {"distill": 2, "joint": 4}
    assert trained.provenance["run"]["kernels"] == {"bi_wkv": "cpu", "q_shift_mix": "cpu"}
    assert trained.provenance["run"]["recipe"] == TINY.to_dict()
    assert "held out by file name" in trained.cell.params["split"]
    assert trained.samples["curve/joint dice_step"][-1] == 4
    assert np.isfinite(trained.samples["curve/joint dice"]).all()
    assert trained.samples["curve/probe_miou"]
    for stage in ("before", "trained"):
        picture = cv2.imread(str(tmp_path / "results" / "figures" / f"gallery-rwkvsam-s-folders-{stage}.png"))
        assert picture is not None
        assert picture.std() > 10


def test_the_box_baseline_is_what_a_filled_box_scores(options, discs, tmp_path):
    box = next(SUITE.run(replace(options, weights="demo", backbones=("rwkvsam-t",)), store=Store(tmp_path)))
    for name, iou in zip(box.samples["DISCS/names"], box.samples["DISCS/iou"], strict=True):
        truth = cv2.imread(str(discs / "masks" / f"{Path(name).stem}.png"), 0) >= 128
        rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
        filled = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert iou == pytest.approx(truth.sum() / filled, abs=1e-6)


def test_training_and_evaluation_images_are_told_apart_the_same_way_every_time(options):
    first, again = suite_module.choose_sets(options), suite_module.choose_sets(options)
    held_out, trained_on = set(first.evaluation[0].items), set(first.train[0].items)
    assert not held_out & trained_on
    assert len(held_out | trained_on) == 10
    assert again.evaluation[0].items == first.evaluation[0].items


def test_separate_training_images(options, discs, tmp_path):
    other = replace(options, train_masks=(("MORE", discs),))
    sets = suite_module.choose_sets(other)
    assert len(sets.evaluation[0]) == len(sets.train[0]) == 10
    assert {cell.params["split"] for cell in SUITE.plan(other)[1:]} == {"separate training folders"}


def test_finished_rows_are_not_made_again(options, tmp_path, monkeypatch):
    store = Store(tmp_path)
    only = replace(options, weights="demo", backbones=("rwkvsam-t",))
    first = run(only, store)

    def measured(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(suite_module, "score_sets", measured)
    assert [row.created_utc for row in run(only, store)] == [row.created_utc for row in first]
    with pytest.raises(AssertionError, match="measured again"):
        run(only, store, resume=False)


def test_an_interrupted_training_keeps_its_place(options, tmp_path, monkeypatch):
    """The row says interrupted, the same run goes on after the stage that was finished."""
    store = Store(tmp_path / "results")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(suite_module, "curve_samples", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(options, store)
    stored = [row for row in store.rows("sam-hq") if row.status == "interrupted"]
    assert [row.cell.params["stage"] for row in stored] == ["trained"]
    folder = options.cache / "train" / stored[0].cell.key
    assert json.loads((folder / "joint" / "step-4" / "state.json").read_text())["step"] == 4
    assert run(options, store)[-1].status == "ok"
    assert not list(folder.glob("*/step-*")), "checkpoints go once the row is stored"
    assert (folder / "weights.safetensors").is_file()


def test_one_system_that_fails_does_not_stop_the_others(options, tmp_path, monkeypatch):
    real = suite_module.train_system

    def train(student, *arguments, **more):
        if sum(p.numel() for p in student.backbone.parameters()) < 6e6:
            raise LinBenchError("the loss of joint is not finite at step 3")
        return real(student, *arguments, **more)

    monkeypatch.setattr(suite_module, "train_system", train)
    rows = run(replace(options, backbones=("vit-t", "rwkvsam-s")), Store(tmp_path))
    assert [(row.cell.backbone, row.status) for row in rows] == [
        ("baseline:box", "ok"),
        ("vit-t", "failed"),
        ("rwkvsam-s", "ok"),
        ("rwkvsam-s", "ok"),
    ]
    assert rows[1].error == "the loss of joint is not finite at step 3"


def test_trained_weights_can_be_evaluated_again(options, tmp_path):
    store = Store(tmp_path / "results")
    trained = run(options, store)[-1]
    weights = options.cache / "train" / trained.cell.key / "weights.safetensors"
    again = run(replace(options, weights=str(weights)), store)[-1]
    assert again.cell.params["weights_sha256"] == trained.provenance["run"]["trained_weights_sha256"]
    held_out = dict(zip(trained.samples["DISCS/names"], trained.samples["DISCS/iou"], strict=True))
    everywhere = dict(zip(again.samples["DISCS/names"], again.samples["DISCS/iou"], strict=True))
    assert len(everywhere) == 10
    assert {name: everywhere[name] for name in held_out} == pytest.approx(held_out, abs=1e-4)


def test_unreadable_images_are_tolerated_only_when_asked(options, discs, tmp_path):
    (discs / "images" / "4.png").write_bytes(b"no picture")
    only = replace(options, weights="demo", backbones=("rwkvsam-t",))
    failed = run(only, Store(tmp_path / "strict"))
    assert [row.status for row in failed] == ["failed", "failed"]
    assert "4.png" in failed[0].error
    fine = run(replace(only, max_bad=1), Store(tmp_path / "lenient"))
    assert [row.status for row in fine] == ["ok", "ok"]
    assert fine[1].metrics["n"] == 9
    assert "4.png" in fine[1].provenance["run"]["bad_images"]["DISCS"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbones": ("timm:resnet_18",)}, "Did you mean resnet18"),
        ({"kernels": "cuda"}, "backend"),
        ({"protocol": "coco"}, "protocol"),
        ({"seed": -1}, "--seed is -1"),
        ({"backbones": ("vit-t",), "weights": "demo"}, "no demo weights"),
    ],
)
def test_what_cannot_run_is_told_before_anything_is_measured(options, tmp_path, change, said):
    store = Store(tmp_path / "results")
    with pytest.raises(UsageError, match=said):
        run(replace(options, **change), store)
    assert store.rows("sam-hq") == []
