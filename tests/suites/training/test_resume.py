import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from linbench.errors import StoreError, WeightsError
from linbench.suites.training.checkpoint import Checkpointer, save_tensors
from safetensors import safe_open
from torch import nn

SCRIPT = Path(__file__).with_name("killed_training.py")


def start(folder, output, pause):
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(output), str(pause)], stderr=subprocess.PIPE)


def finished_steps(folder):
    return max((int(p.name.removeprefix("step-")) for p in folder.glob("step-*")), default=0)


def test_a_training_killed_twice_ends_with_the_same_weights(tmp_path):
    straight = start(tmp_path / "a", tmp_path / "a.pt", 0.0)
    killed = tmp_path / "b"
    for at_least in (random.randint(1, 15), random.randint(16, 30)):
        process = start(killed, tmp_path / "b.pt", 0.05)
        deadline = time.monotonic() + 120
        while finished_steps(killed) < at_least and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert at_least <= finished_steps(killed) < 40, f"killed after step {at_least}"
        assert not (tmp_path / "b.pt").exists()
    last = start(killed, tmp_path / "b.pt", 0.0)
    assert last.wait() == 0, last.stderr.read().decode()
    assert straight.wait() == 0, straight.stderr.read().decode()
    one, other = (torch.load(tmp_path / name, weights_only=True) for name in ("a.pt", "b.pt"))
    assert one["steps"] == other["steps"] == 40
    assert other["points"] == one["points"]
    for name, value in one["state"].items():
        assert torch.equal(value, other["state"][name]), name
    one, other = ([json.loads(line) for line in (tmp_path / n / "log.jsonl").open()] for n in "ab")
    assert [(line["step"], line["mse"], line["lr"]) for line in one] == [
        (line["step"], line["mse"], line["lr"]) for line in other
    ]
    assert [line["step"] for line in other] == list(range(4, 41, 4)), "a step is told once, killed or not"


@pytest.fixture
def trained():
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def test_a_half_written_checkpoint_is_not_seen(tmp_path, trained):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(3, *trained, {"note": 1})
    (tmp_path / ".step-9.123.tmp").mkdir()
    (tmp_path / ".step-9.123.tmp" / "model.safetensors").write_bytes(b"torn")
    fresh = nn.Linear(3, 2)
    assert checkpointer.restore(fresh, torch.optim.AdamW(fresh.parameters(), lr=0.1)) == (3, {"note": 1})
    assert torch.equal(fresh.weight, trained[0].weight)


def test_only_the_newest_are_kept_and_the_optimiser_goes_on_as_before(tmp_path, trained):
    module, optimizer = trained
    checkpointer = Checkpointer(tmp_path, keep=2)
    for step in (1, 2, 10):
        checkpointer.save(step, module, optimizer, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-10", "step-2"]
    other = nn.Linear(3, 2)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.1)
    checkpointer.restore(other, other_optimizer)
    for model, opt in ((module, optimizer), (other, other_optimizer)):
        opt.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        opt.step()
    assert torch.equal(module.weight, other.weight)


@pytest.mark.parametrize("broken", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(tmp_path, trained, broken):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(4, *trained, {})
    path = tmp_path / "step-4" / broken
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(WeightsError, match="step-4"):
        checkpointer.restore(*trained)


@pytest.mark.parametrize("text", ["[]", "null", '{"step": "x", "optimizer": {}, "extra": {}}', '{"optimizer": {}}'])
def test_a_state_that_is_none_is_named(tmp_path, trained, text):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(4, *trained, {})
    (tmp_path / "step-4" / "state.json").write_text(text)
    with pytest.raises(WeightsError, match="step-4"):
        checkpointer.restore(*trained)


def test_a_full_disk_keeps_the_last_checkpoint_and_nothing_half_written(tmp_path):
    module = nn.Linear(100, 100)
    optimizer = torch.optim.AdamW(module.parameters())
    checkpointer = Checkpointer(tmp_path)
    module(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    checkpointer.save(1, module, optimizer, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The weights fit, the optimiser's state of twice the size does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*; free space or choose another"):
            checkpointer.save(2, module, optimizer, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path, trained):
    Checkpointer(tmp_path).save(4, *trained, {})
    other = nn.Linear(5, 2)
    with pytest.raises(WeightsError, match="step-4"):
        Checkpointer(tmp_path).restore(other, torch.optim.AdamW(other.parameters(), lr=0.1))


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path, trained):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        Checkpointer(tmp_path / "file" / "below").save(1, *trained, {})
    with pytest.raises(StoreError, match="cannot write"):
        save_tensors(tmp_path / "file" / "x.safetensors", {"a": torch.ones(1)})


def test_equal_tensors_are_equal_files(tmp_path):
    facts = {"system": "x", "recipe": "größer", "size": "64"}
    for number in range(8):
        save_tensors(tmp_path / f"{number}.safetensors", {"b": torch.ones(3), "a": torch.zeros(2, 2)}, facts)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == facts
        assert torch.equal(file.get_tensor("b"), torch.ones(3))


def test_tensors_are_written_whole_with_their_metadata(tmp_path):
    path = tmp_path / "w.safetensors"
    save_tensors(path, {"a": torch.arange(6.0).view(2, 3).T}, {"system": "x"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"system": "x"}
        assert torch.equal(file.get_tensor("a"), torch.arange(6.0).view(2, 3).T)
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["w.safetensors"]'
