"""Several processes on one training: the same curve and scores as one, and one end for all."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from linbench.errors import LinBenchError, UsageError
from linbench.results.store import Store
from linbench.suites.training import shards
from linbench.suites.training.accelerators import open_accelerator
from linbench.suites.training.recipes import DEMO

SCRIPT = str(Path(__file__).with_name("several_processes.py"))
# Another run on this machine may have the usual port, so any free one is taken.
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def launch(*arguments):
    """Run the script in two processes; its exit code and what it wrote to standard error."""
    command = [*TORCHRUN, SCRIPT, *map(str, arguments)]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, errors = launcher.communicate(timeout=300)
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
    return launcher.returncode, errors


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("several_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_and_score_as_one(tmp_path, script, monkeypatch):
    """Other passes, parameters in one place or shared, a checkpoint of one process: the global batch alone decides."""
    monkeypatch.setattr("linbench.suites.training.engine.CHECKPOINT_SECONDS", 0.0)
    accelerator = open_accelerator("fp32", "cpu")
    with pytest.raises(LinBenchError, match="step 10"):
        script.train(tmp_path / "sharded", accelerator, broken=12 * 10 + 7)
    whole = script.train(tmp_path / "one", accelerator)
    averaged = script.train(tmp_path / "average", accelerator, ema=0.8)
    normed = script.train(tmp_path / "batch-norm", accelerator, normed=True)
    scores = script.score()

    code, errors = launch(tmp_path, "ema=0.8", "images_per_pass=3")
    assert code == 0, errors
    for rank in (0, 1):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert [point["step"] for point in told["plain"]["points"]] == list(range(1, 21))
        pairs = [("plain", averaged), ("normed", normed), *([("sharded", whole)] if script.CPU_SHARDS else [])]
        for name, ours in pairs:
            for one, two in zip(ours["points"], told[name]["points"], strict=True):
                assert one["mse"] == pytest.approx(two["mse"], abs=1e-4)
                assert one["size"] == pytest.approx(two["size"], abs=1e-4)
            for key, value in ours["weights"].items():
                torch.testing.assert_close(
                    torch.tensor(told[name]["weights"][key]), torch.tensor(value), atol=1e-5, rtol=0
                )
        assert told["scores"] == {str(item): value for item, value in scores.items()}
        assert [int(item) for item in told["scores"]] == list(range(31)), "every item once, none for padding"
    assert whole["points"][0]["mse"] > 1.2 * whole["points"][-1]["mse"]
    assert len((tmp_path / "plain" / "log.jsonl").read_text().splitlines()) == 20, "one process tells"


def test_what_fails_in_one_process_ends_both_in_one_row_that_names_the_sample(tmp_path):
    """Sample 43 is the second process's in step 3."""
    code, errors = launch(tmp_path, "broken=43")
    assert code not in (0, None)
    assert "the loss of test is not finite at step 3" in errors
    assert "samples 42, 43, 44, 45, 46, 47" in errors
    assert not list(tmp_path.glob("*.json"))
    (row,) = Store(tmp_path / "results").rows()
    assert "the loss of test is not finite at step 3" in row.error


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
