"""Several processes on one training: the same curve and scores as one, and one end for all."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from linbench.errors import LinBenchError, UsageError
from linbench.suites.training import shards
from linbench.suites.training.recipes import DEMO

SCRIPT = str(Path(__file__).with_name("several_processes.py"))
# Another run on this machine may have the usual port.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240, check=False)


def test_two_processes_train_and_score_as_one(tmp_path):
    """Other passes on top: the global batch alone decides."""
    one = run(sys.executable, SCRIPT, tmp_path / "one", tmp_path / "one.pt", "ema=0.8")
    assert one.returncode == 0, one.stderr
    two = run(
        *TORCHRUN, "--rdzv-endpoint", "localhost:0", SCRIPT, tmp_path / "two", tmp_path / "two.pt", "ema=0.8",
        "images_per_pass=3",
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    single, first, second = (json.loads((tmp_path / name).read_text()) for name in ("one.0", "two.0", "two.1"))
    assert [point["step"] for point in first["points"]] == list(range(1, 21))
    for ours, theirs in zip(single["points"], first["points"], strict=True):
        assert ours["mse"] == pytest.approx(theirs["mse"], abs=1e-4)
        assert ours["size"] == pytest.approx(theirs["size"], abs=1e-4)
    assert first["points"][0]["mse"] > 1.2 * first["points"][-1]["mse"]
    weights = [torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=0)
    for other in (first, second):
        assert other["items"] == single["items"] == list(range(31)), "every item once, none for padding"
        assert other["scores"] == single["scores"]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["log.jsonl", "step-20"]
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 20, "one process tells"


def test_what_fails_in_one_process_ends_both_and_names_the_sample(tmp_path):
    """Sample 43 is the second process's in step 3."""
    found = run(*TORCHRUN, "--rdzv-endpoint", "localhost:0", SCRIPT, tmp_path / "two", tmp_path / "two.pt", "broken=43")
    assert found.returncode != 0
    assert "the loss of test is not finite at step 3" in found.stderr
    assert "samples 42, 43, 44, 45, 46, 47" in found.stderr
    assert not list(tmp_path.glob("two.*"))


@pytest.mark.parametrize(("images", "per_pass", "processes"), [(4, None, 3), (12, 6, 4), (8, 8, 2)])
def test_processes_that_cannot_share_a_step_are_refused(images, per_pass, processes):
    stage = replace(DEMO.joint, images=images, images_per_pass=per_pass)
    with pytest.raises(UsageError, match=f"{images} images a step .* {processes} processes"):
        stage.share(processes)


def test_a_step_is_cut_into_equal_passes():
    stage = replace(DEMO.joint, images=24, images_per_pass=3)
    assert [(stage.share(count), stage.passes(count)) for count in (1, 2, 8)] == [(24, 8), (12, 4), (3, 1)]
    assert replace(stage, images_per_pass=None).passes(2) == 1


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_whole_batches_are_dealt_out(monkeypatch, batch):
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        shares.append(shards.my_share(50, batch=batch))
    assert sorted(item for share in shares for item in share) == list(range(50))
    homes = {item // batch: number for number, share in enumerate(shares) for item in share}
    assert all(homes[item // batch] == number for number, share in enumerate(shares) for item in share)


@pytest.mark.parametrize("items", [[0, 1], [0, 1, 2, 3], [0, 1, 3]])
def test_results_that_are_missing_or_too_many_are_an_error(items):
    with pytest.raises(LinBenchError, match="3 items"):
        shards.gathered(dict.fromkeys(items, 0.0), 3)
