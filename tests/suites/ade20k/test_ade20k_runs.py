"""The suite `ade20k` from data to rows: training, baseline, weights, inference, faults, several processes."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from linbench.errors import DataError, UsageError, WeightsError
from linbench.results.store import Store
from linbench.suites.ade20k import SUITE, Ade20kOptions
from linbench.suites.ade20k import suite as suite_module
from linbench.suites.ade20k.inference import Predictor, window_starts
from linbench.suites.ade20k.network import SegmentationStep
from linbench.suites.ade20k.recipes import PAPER, RECIPES
from linbench.suites.data.demo.ade20k import FOLDER, build_ade20k_demo
from linbench.suites.training.groups import parameter_groups
from linbench.suites.training.recipes import load_recipe
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = load_recipe(
    "demo",
    [
        *("crop=48", "scale=[128,64]", "channels=4", "precision=fp32"),
        *("train.steps=3", "train.images=2", "train.max_minutes=none", "train.warmup_steps=0"),
    ],
    RECIPES,
)


@pytest.fixture
def data(tmp_path):
    """A copy of its own, to be spoiled."""
    return build_ade20k_demo(tmp_path / "data", training=6, validation=3) / FOLDER


@pytest.fixture
def options(data, tmp_path):
    return Ade20kOptions(("vit-t",), recipe=TINY, data=data, cache=tmp_path / "cache", gallery=2, workers=1)


def run(options, store, **arguments):
    return list(SUITE.run(options, store=store, **arguments))


def test_training_gives_a_row_beside_the_baseline(options, data, tmp_path):
    store = Store(tmp_path / "results")
    rows = run(options, store)
    assert [(row.cell.backbone, row.cell.params["stage"], row.status) for row in rows] == [
        ("baseline:commonest", "baseline", "ok"),
        ("vit-t", "trained", "ok"),
    ]
    assert [row.cell.key for row in rows] == [cell.key for cell in SUITE.plan(options)]
    baseline, trained = rows
    annotations = [np.array(Image.open(path)) for path in sorted((data / "annotations" / "validation").iterdir())]
    ids = np.concatenate([ids[ids > 0] for ids in annotations])
    values, counts = np.unique(ids, return_counts=True)
    assert baseline.metrics["miou"] == pytest.approx(100 * counts.max() / counts.sum() / len(values))
    assert baseline.metrics["aacc"] == pytest.approx(100 * counts.max() / counts.sum())
    assert trained.cell.params["decoder"] == "upernet"
    assert trained.provenance["run"]["steps"] == 3
    assert trained.provenance["run"]["recipe"] == TINY.to_dict()
    assert trained.samples["curve/train main_step"][-1] == 3
    assert np.isfinite(trained.samples["curve/train auxiliary"]).all()
    assert trained.samples["image/name"] == [f"ADE_val_{number:08d}" for number in (1, 2, 3)]
    assert sum(trained.samples["class/pixels"]) == sum(baseline.samples["class/pixels"]) == len(ids)
    assert trained.metrics["params_backbone"] == 5_524_416
    ious = [value for value in trained.samples["class/iou"] if value is not None]
    assert trained.metrics["miou"] == pytest.approx(np.mean(ious), abs=1e-3)
    assert trained.cell.params["data"] == "folders", "a few images in ADE20K's layout are not ADE20K"
    picture = cv2.imread(str(store.root / "figures" / "gallery-ade20k-vit-t-folders-trained.png"))
    assert picture is not None
    assert picture.std() > 10
    again = run(options, store)
    assert [row.created_utc for row in again] == [row.created_utc for row in rows], "finished rows are not made again"


def test_trained_weights_score_the_same_again(options, tmp_path):
    store = Store(tmp_path / "results")
    trained = run(options, store)[-1]
    weights = options.cache / "train" / trained.cell.key / "weights.safetensors"
    again = run(replace(options, weights=str(weights), recipe=replace(TINY, channels=64)), store)[-1]
    assert again.cell.params["weights_sha256"] == trained.provenance["run"]["trained_weights_sha256"]
    assert again.samples["class/iou"] == trained.samples["class/iou"]
    with pytest.raises(WeightsError, match="no file"):
        run(replace(options, weights="nowhere.pth"), store)


def test_weights_of_other_classes_and_a_training_asked_for_again(options, data, tmp_path):
    store = Store(tmp_path / "results")
    (path,) = SUITE.train(options, store=store)
    checkpoint = path.parent / "train" / "step-3" / "state.json"
    first = checkpoint.stat().st_mtime_ns
    list(SUITE.train(options, store=store, resume=False))
    assert checkpoint.stat().st_mtime_ns > first, "trained again, not taken from the last checkpoint"
    table = data / "classes.tsv"
    table.write_text(table.read_text().replace("building", "house"))
    failed = run(replace(options, weights=str(path)), store)[-1]
    assert failed.status == "failed"
    assert "output 0 was trained on the class 'building', which is 'house'" in failed.error


def test_a_loss_that_is_not_finite_names_step_and_images(options, tmp_path):
    train = replace(TINY.train, lr=1e9, clip_norm=None, steps=30)
    failed = run(replace(options, recipe=replace(TINY, train=train)), Store(tmp_path / "results"))[-1]
    assert failed.status == "failed"
    assert re.search(r"not finite at step \d+ .*samples ADE_train_0000000\d, ADE_train_0000000\d", failed.error)


def test_the_same_seed_gives_the_same_weights(options, tmp_path):
    digests = set()
    for name in ("one", "two"):
        row = run(replace(options, cache=tmp_path / name, workers=2), Store(tmp_path / f"r-{name}"))[-1]
        digests.add(row.provenance["run"]["trained_weights_sha256"])
    assert len(digests) == 1


def test_windows_cover_every_pixel_and_end_at_the_edge():
    assert window_starts(512, 512, 341) == [0]
    assert window_starts(100, 512, 341) == [0]
    assert window_starts(683, 512, 341) == [0, 171]
    assert window_starts(1024, 512, 341) == [0, 341, 512]
    assert window_starts(1025, 512, 341) == [0, 341, 513]


class Marks(torch.nn.Module):
    """Logits that say where in its input a pixel lies."""

    def forward(self, images):
        rows = torch.arange(images.shape[2]).float()[:, None].expand(images.shape[2:])
        return torch.stack([rows, torch.full_like(rows, 5.5)])[None]


def test_sliding_averages_what_the_windows_say():
    predictor = Predictor(Marks(), "cpu", (64, 16), "slide", 16, 8)
    wanted = torch.zeros(24, 16)
    times = torch.zeros(24, 16)
    for top in (0, 8):
        wanted[top : top + 16] += torch.arange(16).float()[:, None]
        times[top : top + 16] += 1
    with torch.inference_mode():
        assert torch.allclose(predictor.slide(torch.zeros(1, 3, 24, 16))[0, 0], wanted / times)


def test_whole_and_sliding_agree_where_one_window_holds_the_image(options, tmp_path):
    store = Store(tmp_path / "results")
    only = replace(options, weights="random", recipe=replace(TINY, crop=256, stride=128))
    whole, slide = (run(replace(only, inference=mode), store)[-1] for mode in ("whole", "slide"))
    assert whole.samples["class/predicted_pixels"] == slide.samples["class/predicted_pixels"]
    assert (whole.cell.key == slide.cell.key) is False
    assert slide.cell.params["crop"] == 256


def test_heads_learn_faster_and_vectors_do_not_decay():
    segmenter = suite_module.new_segmenter("vit-t", 3, Ade20kOptions(("vit-t",), recipe=TINY))
    module = SegmentationStep(segmenter, auxiliary=0.4, head_lr_scale=10.0)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for group in parameter_groups(module, 0.01):
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr_scale"] == (10.0 if "head." in name else 1.0), name
            assert (group["weight_decay"] == 0.0) == (
                parameter.ndim < 2 or "pos_embed" in name or "cls_token" in name
            ), name


def test_pixels_that_do_not_count_give_no_gradient():
    segmenter = suite_module.new_segmenter("vit-t", 3, Ade20kOptions(("vit-t",), recipe=TINY))
    module = SegmentationStep(segmenter, auxiliary=0.4, head_lr_scale=1.0)
    images = torch.randn(2, 3, 32, 32)
    classes = torch.full((2, 32, 32), 255, dtype=torch.uint8)
    assert sum(module({"images": images, "classes": classes}).values()) == 0
    classes[:, :16] = 1
    losses = module({"images": images, "classes": classes})
    logits = module.segmenter(images)[:, :, :16]
    expected = torch.nn.functional.cross_entropy(logits, torch.ones(2, 16, 32, dtype=torch.long)) / 2
    assert float(losses["main"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_the_published_recipe():
    assert (PAPER.train.steps, PAPER.train.images, PAPER.train.lr, PAPER.train.weight_decay) == (
        160_000,
        16,
        6e-5,
        0.01,
    )
    assert (PAPER.train.schedule, PAPER.train.warmup_steps, PAPER.head_lr_scale) == ("poly", 1500, 10.0)
    assert (PAPER.scale, PAPER.ratio, PAPER.crop, PAPER.stride, PAPER.largest_class) == (
        (2048, 512),
        (0.5, 2.0),
        512,
        341,
        0.75,
    )
    assert (PAPER.channels, PAPER.dropout, PAPER.auxiliary) == (512, 0.1, 0.4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["chanels=8"], "did you mean channels"),
        (["crop=8"], "16 or more"),
        (["stride=0"], "1 or more"),
        (["train.images=1"], "2 or more"),
        (["inference=sideways"], "whole, slide"),
        (["scale=[64,128]"], "scale"),
    ],
)
def test_a_recipe_that_cannot_be_is_told(changes, said):
    with pytest.raises(UsageError, match=said):
        load_recipe("demo", changes, RECIPES)


def test_bad_annotations_stop_the_run_before_training_unless_tolerated(options, data, tmp_path):
    label = data / "annotations" / "training" / "ADE_train_00000002.png"
    Image.fromarray(np.full_like(np.array(Image.open(label)), 77)).save(label)
    (data / "images" / "validation" / "ADE_val_00000003.jpg").write_bytes(b"no picture")
    store = Store(tmp_path / "results")
    with pytest.raises(DataError, match=r"ADE_train_00000002\.png: values 77 are no classes"):
        run(options, store)
    assert store.rows("ade20k") == []
    rows = run(replace(options, max_bad=1), store)
    assert [row.status for row in rows] == ["ok", "ok"]
    assert rows[1].metrics["n"] == 2
    bad = rows[1].provenance["run"]["bad_images"]
    assert "ADE_train_00000002" in bad["training"][0]
    assert "ADE_val_00000003" in bad["evaluation"][0]


def test_one_backbone_that_fails_does_not_stop_the_others(options, tmp_path):
    rows = run(
        replace(options, backbones=("timm:beit_base_patch16_224", "vit-t"), weights="random"), Store(tmp_path / "r")
    )
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert "224" in rows[1].error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbones": ("vit-tt",)}, "unknown backbone"),
        ({"kernels": "triton", "backbones": ("vit-t",)}, "calls none"),
        ({"inference": "sideways"}, "whole or slide"),
        ({"seed": -1}, "--seed is -1"),
        ({"inference": "slide", "recipe": replace(TINY, stride=49)}, "leaves gaps"),
        ({"data": None, "classes": Path("x.tsv")}, "--classes needs --data"),
        ({"weights": "random", "backbone_weights": "official"}, "leave --backbone-weights out"),
    ],
)
def test_what_cannot_run_is_told_before_anything_is_measured(options, tmp_path, change, said):
    store = Store(tmp_path / "results")
    with pytest.raises(UsageError, match=said):
        run(replace(options, **change), store)
    assert store.rows("ade20k") == []


def test_training_images_are_asked_for(options, tmp_path):
    real = tmp_path / "only"
    (real / "test").mkdir(parents=True)
    (real / "testannot").mkdir()
    Image.new("RGB", (8, 8)).save(real / "test" / "a.png")
    Image.new("L", (8, 8)).save(real / "testannot" / "a.png")
    (real / "classes.tsv").write_text("id\tname\n0\tsky\n1\troad\n")
    with pytest.raises(DataError, match="only has no training images"):
        run(replace(options, data=real), Store(tmp_path / "results"))


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Rows of the same run in one process and in two."""
    root = tmp_path_factory.mktemp("sharing")
    data = build_ade20k_demo(root / "data", training=6, validation=3) / FOLDER
    script = Path(__file__).with_name("sharing.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for world in (1, 2):
        (root / str(world)).mkdir()
        for rank in range(world):
            shared = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
            several = {**shared, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
            command = [sys.executable, "-P", str(script), str(data), str(root / str(world))]
            started.append(subprocess.Popen(command, env={**os.environ, **(several if world > 1 else {})}))
    assert [process.wait(300) for process in started] == [0, 0, 0]
    return root


def test_two_processes_learn_what_one_learns_and_score_each_image_once(launched):
    one, two, other = (
        json.loads((launched / name).read_text())[1] for name in ("1/rows-0.json", "2/rows-0.json", "2/rows-1.json")
    )
    for loss in ("main", "auxiliary"):
        assert two["samples"][f"curve/train {loss}"] == pytest.approx(one["samples"][f"curve/train {loss}"], abs=3e-4)
    assert two["samples"]["image/name"] == one["samples"]["image/name"]
    assert two["samples"]["class/pixels"] == one["samples"]["class/pixels"]
    assert two["metrics"]["miou"] == pytest.approx(one["metrics"]["miou"], abs=0.5)
    assert other["samples"]["class/iou"] == two["samples"]["class/iou"]
    assert len(list((launched / "2" / "results" / "runs").rglob("*.json"))) == 2, "the main process stores the rows"
