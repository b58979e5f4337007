"""The training loop in one process: passes, averages, logs, what it does when numbers break."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from linbench.errors import LinBenchError, UsageError
from linbench.suites.training.accelerators import open_accelerator
from linbench.suites.training.averaging import Average, Held
from linbench.suites.training.engine import train_stage
from linbench.suites.training.log import TrainLog
from linbench.suites.training.options import EngineOptions
from linbench.suites.training.passes import cut
from linbench.suites.training.recipes import Optimisation
from rich.progress import Progress
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")

STAGE = Optimisation(
    steps=12, max_minutes=None, images=4, lr=1e-2, lr_end=0.1, warmup_steps=0, weight_decay=0.1, clip_norm=1.0
)


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, batch):
        return {"mse": (self.layer(batch["images"]) - 1).square().mean()}


class Stream:
    """Batches of a fixed stream, the sample `spoilt` of which is not finite."""

    def __init__(self, spoilt=None, end=None):
        self.spoilt, self.end = spoilt, end

    def __call__(self, step, rank, world):
        while step != self.end:
            samples = torch.arange(4 * step, 4 * step + 4)
            images = torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(int(s))) for s in samples])
            if self.spoilt in samples.tolist():
                images[samples == self.spoilt] = float("nan")
            yield {"images": images, "samples": samples}
            step += 1

    def names(self, samples):
        return [f"set/{sample}.png" for sample in samples]


def train(folder, stage=STAGE, stream=None, module=None, **options):
    if module is None:
        torch.manual_seed(0)
        module = Regression()
    curve = train_stage(
        "test",
        module,
        stream or Stream(),
        stage,
        accelerator=open_accelerator("fp32", "cpu"),
        folder=folder,
        seed=1,
        progress=Progress(disable=True),
        **options,
    )
    return module, curve


def test_passes_add_up_to_the_whole_step(tmp_path):
    whole, curve = train(tmp_path / "a")
    parts, cut_curve = train(tmp_path / "b", replace(STAGE, images_per_pass=1))
    torch.testing.assert_close(whole.layer.weight, parts.layer.weight, atol=1e-6, rtol=0)
    assert [p["mse"] for p in curve.points] == pytest.approx([p["mse"] for p in cut_curve.points], abs=1e-5)


def test_a_batch_is_cut_by_image_and_object():
    owner = torch.tensor([0, 0, 1, 3, 3, 3])
    batch = {"images": torch.arange(4), "image_index": owner, "boxes": torch.arange(6), "names": [*"abcd"], "size": 7}
    first, second = cut(batch, 2, objects=("boxes",))
    assert first["images"].tolist() == [0, 1]
    assert second["names"] == ["c", "d"]
    assert (first["boxes"].tolist(), second["boxes"].tolist()) == ([0, 1, 2], [3, 4, 5])
    assert (first["image_index"].tolist(), second["image_index"].tolist()) == ([0, 0, 1], [1, 1, 1])
    assert first["size"] == second["size"] == 7
    with pytest.raises(UsageError, match=r"4 images .* 3"):
        cut(batch, 3)


def test_a_loss_that_is_not_finite_names_step_and_samples_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("linbench.suites.training.engine.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(LinBenchError, match=r"loss of test is not finite at step 5 .*set/20.png, set/21.png") as caught:
        train(tmp_path, stream=Stream(spoilt=22))
    assert "\n" not in str(caught.value)
    assert f"the last checkpoint is kept in {tmp_path}" in str(caught.value)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-5"]
    module, curve = train(tmp_path)
    assert curve.steps == 12
    straight, _ = train(tmp_path / "straight")
    assert torch.equal(module.layer.weight, straight.layer.weight), "mended data go on from the checkpoint"


def test_a_gradient_that_is_not_finite_is_not_trained_on(tmp_path):
    class Cliff(Regression):
        def forward(self, batch):
            return {"root": self.layer(batch["images"]).square().sum().sqrt()}

    module = Cliff()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(LinBenchError, match=r"gradient of test is not finite at step 0 .*set/0.png.*no checkpoint is"):
        train(tmp_path, module=module)
    assert torch.isfinite(module.layer.weight).all()


def test_data_that_end_too_early_are_an_error(tmp_path):
    with pytest.raises(LinBenchError, match="end before step 3 of 12"):
        train(tmp_path, stream=Stream(end=3))


def test_the_average_is_what_is_probed_and_left(tmp_path):
    seen = []
    torch.manual_seed(0)
    module = Regression()
    weights = []
    module.layer.register_forward_pre_hook(lambda layer, _: weights.append(layer.weight.detach().clone()))

    def probe():
        seen.append(module.layer.weight.detach().clone())
        return {"probe": 0.0}

    train(tmp_path, replace(STAGE, ema=0.5), module=module, probe=probe, probes=1)
    # A step's forward sees the weights that the step before left.
    plain, _ = train(tmp_path / "plain")
    expected = weights[1]
    for value in [*weights[2:12], plain.layer.weight.detach()]:
        expected = torch.lerp(expected, value, 0.5)
    torch.testing.assert_close(seen[-1], expected)
    assert torch.equal(module.layer.weight, seen[-1])
    assert not torch.equal(module.layer.weight, plain.layer.weight)
    again = Regression()
    train(tmp_path, replace(STAGE, ema=0.5), module=again)
    assert torch.equal(again.layer.weight, module.layer.weight), "a finished stage gives its average again"


def test_an_average_copies_no_held_teacher():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.teacher = Held(nn.Linear(2, 2))

    step = Step()
    average = Average(step, 0.9)
    assert set(average.state()) == {"layer.weight", "layer.bias"}
    assert not any(parameter.requires_grad for parameter in step.teacher.module.parameters())
    assert copy.deepcopy(step).teacher is step.teacher


def test_the_newest_checkpoints_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("linbench.suites.training.engine.CHECKPOINT_SECONDS", 0.0)
    train(tmp_path, engine=EngineOptions(keep=3))
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-10", "step-11", "step-12"]
    with pytest.raises(UsageError, match="--keep"):
        EngineOptions(keep=0)


def test_a_training_that_shall_not_resume_begins_anew(tmp_path):
    train(tmp_path)
    _, first = train(tmp_path, replace(STAGE, steps=6), engine=EngineOptions(resume=False))
    assert first.steps == 6
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-6"]
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]


def test_a_compiled_step_trains_alike(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    train(tmp_path, engine=EngineOptions(compile=True))
    assert compiled == ["Regression"]


def test_the_log_tells_losses_speed_and_waiting(tmp_path):
    _, curve = train(tmp_path, points=3)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert [line["mse"] for line in lines] == [point["mse"] for point in curve.points]
    for line in lines:
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait_percent"] <= 100
    assert 0 < curve.data_seconds < curve.seconds
    assert curve.data_wait_percent == pytest.approx(100 * curve.data_seconds / curve.seconds)


def test_tensorboard_reads_what_was_told_and_not_what_a_kill_took_back(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed = TrainLog(tmp_path)
    for step in (1, 2, 3):
        killed.add({"step": step, "loss": 0.5})
    killed.close()
    log = TrainLog(tmp_path, step=2)
    log.add({"step": 3, "loss": 0.25})
    log.close()
    events = reading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_a_log_goes_on_after_the_step_that_was_kept(tmp_path):
    log = TrainLog(tmp_path)
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 0.5})
    log.close()
    with log.path.open("ab") as file:
        file.write(b'{"step": 4, "lo')
    log = TrainLog(tmp_path, step=2)
    log.add({"step": 3, "loss": 0.25})
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": 0.25},
    ]
