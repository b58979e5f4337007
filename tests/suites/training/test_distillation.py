"""Distillation: kept embeddings survive kills and tell damage, and training on them is training beside the teacher."""

import json
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from linbench.cli import main
from linbench.errors import DataError, StoreError, UsageError
from linbench.heads.sam import create_system
from linbench.results.store import Store
from linbench.suites.distill import SUITE, DistillOptions, announce, cache, fill, trained_weights
from linbench.suites.distill.cache import EmbeddingCache
from linbench.suites.distill.fill import check_space
from linbench.suites.distill.stream import DistillStream
from linbench.suites.training.recipes import DEMO, PAPER
from PIL import Image
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("killed_caching.py")
_script = runpy.run_path(str(SCRIPT))
FRAME, Pooling, open_cache, open_images = (_script[name] for name in ("FRAME", "Pooling", "open_cache", "open_images"))
COUNT = 22


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache, "SHARD_IMAGES", 4)


@pytest.fixture
def photos(tmp_path):
    """A folder of drawn images, in a folder below too; one embedding each."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for index in range(COUNT):
        place = tmp_path / "photos" / ("more" if index % 3 == 0 else "") / f"{index:02d}.png"
        Image.fromarray(rng.integers(0, 256, (30 + index, 50, 3), dtype=np.uint8)).save(place)
    return tmp_path / "photos"


@pytest.fixture
def filled(photos, tmp_path):
    """The folder of a whole cache of `photos`, and the images."""
    images = open_images(photos)
    fill.fill(open_cache(tmp_path / "whole", images), images, Pooling(), frame=FRAME)
    return tmp_path / "whole", images


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# The kept embeddings


def test_a_filling_killed_twice_ends_with_the_same_shards(photos, filled, tmp_path):
    killed = tmp_path / "killed"
    for at_least in (1, 3):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(photos), str(killed), "0.15"], stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 90
        while len(list(killed.glob("shard-*"))) < at_least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert at_least <= len(list(killed.glob("shard-*"))) < 6
    (killed / ".0123.part").write_bytes(b"torn")
    images, teacher = open_images(photos), Pooling()
    resumed = open_cache(killed, images)
    todo = sum(len(resumed.members(number)) for number in resumed.missing())
    assert 0 < todo <= COUNT - 4 * 2
    fill.fill(resumed, images, teacher, frame=FRAME)
    assert teacher.encoded == todo
    assert contents(killed) == contents(filled[0])


def test_rows_are_the_teachers_and_half_precision_halves_the_bytes(filled, tmp_path):
    folder, images = filled
    whole = open_cache(folder, images)
    half = open_cache(tmp_path / "half", images, dtype="fp16")
    fill.fill(half, images, Pooling(), frame=FRAME)
    assert whole.bytes_each == 2 * half.bytes_each == 3 * 2 * 2 * 4
    assert whole.missing() == []
    for index in range(COUNT):
        pixels = Pooling.preprocessing.frame(images.image(index), size=FRAME)[0]
        wanted = Pooling().encode(pixels[None]).image[0]
        assert torch.equal(whole.row(index), wanted)
        assert half.row(index).dtype == torch.float16
        assert (half.row(index).float() - wanted).abs().max() < 2e-3
    written = sum(path.stat().st_size for path in folder.glob("shard-*"))
    assert written <= whole.bytes_total < written + 6 * 256


def test_a_damaged_shard_is_named_and_made_anew_alone(filled):
    folder, images = filled
    path = folder / "shard-00002.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-3] + bytes([good[-3] ^ 1]) + good[-2:])
    damaged = open_cache(folder, images)
    assert damaged.row(7).shape == (3, 2, 2)
    with pytest.raises(DataError, match=r"shard-00002\.safetensors is damaged .*SHA-256.* delete it"):
        damaged.row(8)
    path.write_bytes(good[:-3])
    with pytest.raises(DataError, match=r"shard-00002\.safetensors is damaged .*size"):
        open_cache(folder, images).row(11)
    path.unlink()
    teacher = Pooling()
    fill.fill(open_cache(folder, images), images, teacher, frame=FRAME)
    assert teacher.encoded == 4
    assert path.read_bytes() == good


def test_embeddings_of_something_else_are_refused_in_one_line(filled):
    folder, images = filled
    for other in ({"data_fingerprint": "abc"}, {"teacher": "other"}):
        with pytest.raises(UsageError, match=f"{next(iter(other))}.*expected '{next(iter(other.values()))}'") as caught:
            open_cache(folder, images, **other)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="dtype 'fp32', expected 'fp16'"):
        open_cache(folder, images, dtype="fp16")
    (folder / "index.json").write_text('{"identity": {}')
    with pytest.raises(StoreError, match=r"index\.json cannot be read"):
        open_cache(folder, images)


def test_what_does_not_fit_the_disk_is_refused_before_it_starts(photos, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fill.shutil, "disk_usage", lambda path: usage(0, 0, 100))
    images, teacher = open_images(photos), Pooling()
    with pytest.raises(StoreError, match=r"22 images need .* more, 100 bytes are free under .*--fp16") as caught:
        fill.fill(open_cache(tmp_path / "new", images), images, teacher, frame=FRAME)
    assert "\n" not in str(caught.value)
    assert teacher.encoded == 0


def test_one_percent_of_sa_1b_is_437_gib(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD_IMAGES", 64)
    whole = EmbeddingCache(tmp_path / "none", {}, count=111_860, shape=(256, 64, 64), dtype="fp32")
    assert whole.bytes_each == 4 * 2**20
    assert round(whole.bytes_total / 2**30) == round(whole.bytes_missing / 2**30) == 437
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr(fill, "free_bytes", lambda folder: 12 * 2**30)
    with pytest.raises(StoreError, match=r"111,860 images need 437\.0 GiB more, 12\.0 GiB .* --fp16 \(218\.5 GiB\)"):
        check_space(whole)


def test_values_beyond_half_precision_are_refused(photos, tmp_path):
    class Loud(Pooling):
        def encode(self, images):
            return super().encode(1e6 * images)

    images = open_images(photos)
    with pytest.raises(UsageError, match="fp16"):
        fill.fill(open_cache(tmp_path / "loud", images, dtype="fp16"), images, Loud(), frame=FRAME)


def test_unreadable_images_are_counted_and_left_out(photos, tmp_path):
    (photos / "07.png").write_bytes(b"no image")
    images = open_images(photos)
    with pytest.raises(DataError, match=r"1 images could not be read: .*07\.png.*--max-bad 1"):
        fill.fill(open_cache(tmp_path / "cache", images), images, Pooling(), frame=FRAME)
    kept = open_cache(tmp_path / "cache", images)
    fill.fill(kept, images, Pooling(), frame=FRAME, max_bad=1)
    (bad,) = kept.bad
    preprocessing = Pooling.preprocessing
    with_cache = DistillStream(images, preprocessing, preprocessing, frame=FRAME, batch_size=21, cache=kept)
    beside = DistillStream(images, preprocessing, preprocessing, frame=FRAME, batch_size=22, max_bad=1)
    shown = with_cache.batch(0)
    assert len(shown["images"]) == 21
    assert len(shown["images"].flatten(1).unique(dim=0)) == 21
    pooled = Pooling().encode(shown["images"]).image
    assert torch.equal(shown["embedding"], pooled)
    assert len(beside.batch(0)["images"]) == 22
    assert list(beside.bad) == [bad]
    with pytest.raises(DataError, match="--max-bad 1"):
        DistillStream(images, preprocessing, preprocessing, frame=FRAME, batch_size=22).batch(0)


def test_batches_depend_on_seed_and_step_alone(filled):
    folder, images = filled
    preprocessing = Pooling.preprocessing

    def stream(**changes):
        arguments = {"frame": FRAME, "batch_size": 4, "seed": 3, "cache": open_cache(folder, images), **changes}
        return DistillStream(images, preprocessing, preprocessing, **arguments)

    whole, rest = list(stream().batches(0, 6, workers=3)), list(stream().batches(4, 6, workers=1))
    for one, other in zip(whole[4:], rest, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    halves = [stream(batch_size=2, rank=rank, world_size=2).batch(1)["embedding"] for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), whole[1]["embedding"])
    other = replace(preprocessing, mean=(0.5, 0.5, 0.5))
    both = DistillStream(images, other, preprocessing, frame=FRAME, batch_size=4, seed=3).batch(0)
    assert torch.equal(both["teacher_images"], whole[0]["images"])
    assert not torch.equal(both["images"], whole[0]["images"])


# The whole suite


def options(photos, tmp_path, *, steps=4, **changes):
    stage = replace(DEMO.distill, steps=steps, max_minutes=None, images=4, warmup_steps=0, lr=1e-3)
    recipe = replace(DEMO, frame=64, precision="fp32", distill=stage)
    return DistillOptions(data=str(photos), recipe=recipe, cache=tmp_path / "cache", limit=12, **changes)


def test_kept_and_computed_embeddings_train_alike(photos, tmp_path, one_thread):
    store = Store(tmp_path / "results")
    rows = {}
    for name, changes in (
        ("computed", {}),
        ("fp32", {"cached": True}),
        ("fp16", {"cached": True, "dtype": "fp16", "embeddings": tmp_path / "half"}),
    ):
        (rows[name],) = SUITE.run(options(photos, tmp_path, **changes), store=store)
        assert rows[name].status == "ok", rows[name].error
    curves = {name: row.samples["curve/distill embedding"] for name, row in rows.items()}
    assert curves["computed"] == pytest.approx(curves["fp32"], rel=1e-4)
    assert curves["fp16"] == pytest.approx(curves["fp32"], rel=2e-2)
    row = rows["fp16"]
    assert row.metrics["mse_last"] < row.metrics["mse_first"]
    assert row.metrics["steps"] == 4
    assert row.provenance["run"]["recipe"]["distill"]["steps"] == 4
    assert str(tmp_path) not in json.dumps(row.to_dict())
    trained = create_system("rwkvsam-t", weights=str(trained_weights(row, tmp_path / "cache")))
    teacher = create_system("rwkvsam-t", weights="demo")
    assert torch.equal(trained.mask_decoder.iou_token.weight, teacher.mask_decoder.iou_token.weight)
    assert len(list((tmp_path / "half").glob("shard-*"))) == 3
    assert load_file(tmp_path / "half" / "shard-00000.safetensors")["embeddings"].shape == (4, 256, 4, 4)
    (again,) = SUITE.run(options(photos, tmp_path), store=store)
    assert again.created_utc == store.done(rows["computed"].cell).created_utc


def test_changed_images_are_another_row_and_other_embeddings(photos, tmp_path):
    first = announce(options(photos, tmp_path, cached=True))
    Image.new("RGB", (40, 40)).save(photos / "00b.png")
    second = announce(options(photos, tmp_path, cached=True))
    assert first["folder"] != second["folder"]
    assert first["row"] != second["row"]
    assert first["bytes to write"] == first["bytes in all"] >= 12 * 256 * 4 * 4 * 4
    assert not Path(first["folder"]).exists()


def test_options_that_cannot_be_meant(tmp_path):
    for changes, words in (
        ({"dtype": "fp16"}, "--cache-embeddings"),
        ({"limit": 0}, "--limit"),
        ({"seed": -1}, "--seed is -1"),
        ({"device": "tpu"}, "--device"),
        ({"student": "vit-t"}, r"vit-t\+sam"),
        ({"teacher": "efficientsam-ti"}, "same pixels"),
        ({"recipe": replace(PAPER, distill=replace(PAPER.distill, steps=0))}, "distill.steps"),
    ):
        with pytest.raises(UsageError, match=words):
            DistillOptions(**changes)
    assert DistillOptions(teacher="sam-vit-b").weights == "official"
    with pytest.raises(UsageError, match="neither a folder nor known"):
        announce(DistillOptions(data="nowhere", cache=tmp_path))


def bench(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return stop.value.code or 0, out, err


def test_the_command(capsys, photos, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINBENCH_DATA", raising=False)
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    command = ("train", "distill", "--data", photos, "--set", "distill.steps=2", "--set", "distill.images=2")
    command += ("--set", "frame=64", "--set", "precision=fp32", "--cache-embeddings")
    code, out, _ = bench(capsys, *command, "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["images"] == COUNT
    assert told["bytes an image"] == 256 * 4 * 4 * 4
    assert not Path(told["folder"]).exists()
    assert "KiB" in bench(capsys, *command, "--dry-run")[1]
    code, out, err = bench(capsys, *command)
    assert code == 0, err
    assert "to write" in err
    assert "mean squared error" in out
    assert "Examples" in bench(capsys, "train", "distill", "--help")[1]
    shutil.rmtree(photos)
    for more, words in (
        ((), "neither a folder nor known"),
        (("--data", "sa-1b"), "LINBENCH_DATA"),
        (("--data", tmp_path / "cache" / "train"), "no image"),
    ):
        code, _, err = bench(capsys, *command, *more)
        assert code in (1, 2)
        assert words in err.splitlines()[-1]
