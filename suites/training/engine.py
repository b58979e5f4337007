"""The training loop: Accelerate, a schedule in steps or minutes, checkpoints that survive a kill."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.progress import Progress
from torch import Tensor, nn

from ...errors import LinBenchError, UsageError
from ...heads.upernet.norm import sync_batch_norms
from .averaging import Average
from .checkpoint import Checkpointer
from .groups import parameter_groups
from .log import TrainLog
from .options import DEFAULT, EngineOptions
from .passes import cut
from .recipes import Optimisation
from .schedule import learning_rate
from .sharding import gather_into, is_sharded, load_optimizer, parameter_names, whole_states

Probe = Callable[[], dict[str, float]]
Batches = Callable[[int, int, int], Iterable[Any]]
"""From a step, this process's number and the number of processes to the batches from that step on."""

CHECKPOINT_SECONDS = 60.0
UNTOLD = ("quality",)


@dataclass
class Curve:
    """What a stage went through.

    Attributes:
        points: Steps with the mean losses since the last point, and scores where the model was probed.
        steps: Steps done.
        seconds: Time spent in steps, probes left out, over all runs of the stage.
        data_seconds: Part of it spent waiting for batches.
    """

    points: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0

    @property
    def data_wait_percent(self) -> float:
        """Share of the time spent waiting for batches."""
        return 100 * self.data_seconds / self.seconds if self.seconds else 0.0


def train_stage(
    name: str,
    module: nn.Module,
    batches: Batches,
    optimisation: Optimisation,
    *,
    accelerator: Accelerator,
    folder: Path,
    seed: int,
    progress: Progress,
    probe: Probe | None = None,
    points: int = 40,
    probes: int = 4,
    engine: EngineOptions = DEFAULT,
) -> Curve:
    """Train a module whose `forward(batch)` gives losses by name; resumes where an earlier run was cut off.

    With several processes each calls this with the same arguments; the main one writes checkpoints and the log
    (`log.jsonl`, and TensorBoard's files where that package is there), in `folder`. Its own folder must be seen by all.

    Args:
        name: Shown in the progress bar.
        module: Its trainable parameters are optimised; it may have the methods of `parameter_groups`,
            `loss_weight(batch) -> float`, what a batch's losses are means over where that is not its images, and
            `cut(batch, passes) -> list` where `passes.cut` does not fit. It ends with the weights to use: the average
            where the recipe has `ema`.
        batches: See `Batches`; must not depend on earlier calls. A batch is this process's share of a step, tensors by
            name, `images` among them. Where a loss is not finite, `samples` `[B]` of its batch are told, by the names
            that a method `batches.names(samples: list[int]) -> list[str]` gives them, if there is one.
        optimisation: Steps, learning rate and so on.
        accelerator: Device, precision and processes.
        folder: Checkpoints and log of this stage.
        seed: Random numbers of step `i` depend on it, on `i` and on the process only.
        progress: Bar with loss and time left.
        probe: Scores of the model so far, called a few times and at the end, in every process.
        points: Points of the loss curve.
        probes: Times that the model is probed.
        engine: How it is run.

    Raises:
        UsageError: The processes cannot share a step's images equally.
        LinBenchError: A loss or gradient is not finite; says at which step and for which samples, and keeps the last
            checkpoint.
        StoreError: A checkpoint or the log cannot be written.
    """
    optimisation.share(accelerator.num_processes)
    return _Stage(name, module, batches, optimisation, accelerator, folder, seed, progress, engine).run(
        probe, points, probes
    )


class _Stage:
    def __init__(
        self,
        name: str,
        module: nn.Module,
        batches: Batches,
        optimisation: Optimisation,
        accelerator: Accelerator,
        folder: Path,
        seed: int,
        progress: Progress,
        engine: EngineOptions,
    ) -> None:
        self.name = name
        self.batches = batches
        self.optimisation = optimisation
        self.accelerator = accelerator
        self.folder = folder
        self.seed = seed
        self.progress = progress
        self.engine = engine
        if engine.sync_batch_norm and accelerator.num_processes > 1:
            if accelerator.device.type == "cuda":
                module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
            else:
                sync_batch_norms(module)
        self.module = module
        self.sharded = is_sharded(accelerator)
        if self.sharded and optimisation.ema is not None:
            raise UsageError("with FSDP no moving average of the weights is kept; use --set ...ema=none, or plain DDP")
        # FSDP takes a module apart, and scores need a whole one.
        self.trained = copy.deepcopy(module) if self.sharded else module
        groups = parameter_groups(self.trained, optimisation.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=optimisation.lr, betas=optimisation.betas, fused=True)
        self.average = Average(module, optimisation.ema) if optimisation.ema is not None else None
        self.checkpointer = Checkpointer(folder, keep=engine.keep)
        if not engine.resume:
            if accelerator.is_main_process:
                self.checkpointer.clear()
            accelerator.wait_for_everyone()
        # Before `prepare`, so that names carry no wrapper's prefix.
        restored = self.checkpointer.restore(self.trained, self.optimizer, self.average)
        kept = {} if restored is None else restored[1]
        self.window = _Window(**kept.pop("window", {}))
        # Of the stage; the first point from there on is probed.
        self.next_probe: float = kept.pop("next_probe", 0.0)
        self.curve = Curve(**kept)
        self.trained.train()
        if engine.compile:
            self.trained.compile()
        self.names = parameter_names(self.trained, self.optimizer) if self.sharded else []
        state = self.optimizer.state_dict()["state"]
        if self.sharded:
            self.optimizer.state.clear()
        self.wrapped, self.prepared = accelerator.prepare(self.trained, self.optimizer)
        if self.sharded and state:
            load_optimizer(self.wrapped, self.optimizer, self.names, state)
        self.stream = iter(batches(self.curve.steps, accelerator.process_index, accelerator.num_processes))

    def run(self, probe: Probe | None, points: int, probes: int) -> Curve:
        accelerator, curve, optimisation = self.accelerator, self.curve, self.optimisation
        log = TrainLog(self.folder, step=curve.steps) if accelerator.is_main_process else None
        task = self.progress.add_task(self.name, total=1.0, loss=math.nan, speed=0.0, wait=0.0)
        point_every = max(1, optimisation.steps // points)
        self.next_probe = self.next_probe or 1 / probes
        saved = time.monotonic()
        while self.fraction() < 1:
            losses, rate, waited, seconds = self.step()
            curve.steps += 1
            curve.seconds += seconds
            curve.data_seconds += waited
            if optimisation.max_minutes is not None:
                # All processes must agree on when the stage is over.
                curve.seconds = self.mean([curve.seconds])[0]
            if self.average is not None:
                self.average.update(curve.steps)
            window = self.window
            window.add(losses, waited, seconds)
            fraction = self.fraction()
            speed = optimisation.images * window.steps / window.seconds
            self.progress.update(
                task, completed=fraction, loss=sum(losses.values()), speed=speed, wait=window.wait_percent
            )
            if curve.steps % point_every == 0 or fraction >= 1:
                means = dict(
                    zip(window.losses, self.mean([v / window.steps for v in window.losses.values()]), strict=True)
                )
                told = {key: value for key, value in means.items() if key not in UNTOLD}
                point = {"step": curve.steps, "seconds": round(curve.seconds, 1), "lr": rate, **told}
                if probe is not None and fraction >= self.next_probe - 1e-9:
                    point.update(self.probed(probe))
                    self.next_probe = (math.floor(fraction * probes + 1e-9) + 1) / probes
                curve.points.append(point)
                if log is not None:
                    log.add({**point, "images_per_second": speed, "data_wait_percent": window.wait_percent})
                self.tell(sum(told.values()), speed, window.wait_percent, fraction)
                self.window = _Window()
            if self.agreed(time.monotonic() - saved > CHECKPOINT_SECONDS):
                self.save()
                saved = time.monotonic()
        self.save()
        self.progress.update(task, completed=1.0)
        if log is not None:
            log.close()
        self.finish()
        return curve

    def step(self) -> tuple[dict[str, float], float, float, float]:
        """One optimiser step: this process's weighted losses, the rate, seconds waited for data and seconds in all."""
        accelerator, optimisation, step = self.accelerator, self.optimisation, self.curve.steps
        started = time.monotonic()
        try:
            batch: Mapping[str, Any] = next(self.stream)
        except StopIteration:
            raise LinBenchError(f"the data of {self.name} end before step {step} of {optimisation.steps}") from None
        waited = time.monotonic() - started
        parts = self.parts(batch)
        weights = self.weights(parts)
        set_seed(_mixed(self.seed, step, accelerator.process_index))
        rate = learning_rate(optimisation, step, self.fraction())
        for group in self.prepared.param_groups:
            group["lr"] = rate * group["lr_scale"]
        summed: dict[str, Tensor] = {}
        for index, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            last = index == len(parts) - 1
            with nullcontext() if last else accelerator.no_sync(self.wrapped):
                with accelerator.autocast():
                    losses: dict[str, Tensor] = self.wrapped(_to(part, accelerator.device))
                losses = {key: value * (weight / len(parts)) for key, value in losses.items()}
                total = torch.stack(list(losses.values())).sum()
                if not bool(torch.isfinite(total)):
                    raise self.trouble("loss", part, ", ".join(f"{k} {v.item():.3g}" for k, v in losses.items()))
                accelerator.backward(total)
            for key, value in losses.items():
                summed[key] = summed.get(key, torch.zeros_like(value)) + value.detach()
        norm = self.clipped()
        # Finite gradients may have a norm beyond float32, as an encoder's that has seen nothing but padding: clipped to
        # zero, they make an empty step.
        if not math.isfinite(norm) and not _finite_gradients(self.wrapped):
            raise self.trouble("gradient", batch, f"norm {norm}")
        self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        values = {key: float(value) for key, value in summed.items()}
        return values, rate, waited, time.monotonic() - started

    def clipped(self) -> float:
        """Clip the gradients, if the recipe says so; their norm before."""
        if self.optimisation.clip_norm is None:
            gradients = [p.grad for p in self.wrapped.parameters() if p.grad is not None]
            norm: Any = torch.nn.utils.get_total_norm(gradients)
        else:
            norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.optimisation.clip_norm)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def parts(self, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        passes = self.optimisation.passes(self.accelerator.num_processes)
        own = getattr(self.module, "cut", cut)
        return own(batch, passes)  # type: ignore[no-any-return]

    def weights(self, parts: list[dict[str, Any]]) -> list[float]:
        """Of each pass, so that losses are means over what they are means over in all passes of all processes."""
        weigh = getattr(self.module, "loss_weight", None)
        if weigh is None or (len(parts) == 1 and self.accelerator.num_processes == 1):
            return [1.0] * len(parts)
        found = [float(weigh(part)) for part in parts]
        mean = self.mean([sum(found) / len(found)])[0]
        return [one / mean for one in found]

    def mean(self, values: list[float]) -> list[float]:
        """Means over the processes."""
        if self.accelerator.num_processes == 1:
            return values
        mine = torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)
        found: list[float] = self.accelerator.reduce(mine, reduction="mean").tolist()
        return found

    def agreed(self, due: bool) -> bool:
        """Whether a checkpoint is due: where all must give their part to it, the main process says so."""
        if not self.sharded:
            return due
        return self.mean([float(due and self.accelerator.is_main_process)])[0] > 0

    def probed(self, probe: Probe) -> dict[str, float]:
        with self.average.applied() if self.average is not None else nullcontext():
            if self.sharded:
                gather_into(self.module, self.wrapped)
            self.module.eval()
            found = probe()
            self.module.train()
        return found

    def save(self) -> None:
        extra = {
            **dataclasses.asdict(self.curve),
            "window": dataclasses.asdict(self.window),
            "next_probe": self.next_probe,
        }
        if self.sharded:
            weights, optimizer = whole_states(self.wrapped, self.optimizer, self.names)
            if self.accelerator.is_main_process:
                self.checkpointer.write(self.curve.steps, weights, optimizer, extra)
        elif self.accelerator.is_main_process:
            self.checkpointer.save(self.curve.steps, self.module, self.optimizer, extra, self.average)

    def finish(self) -> None:
        """Leave the weights to use in the module, the same in every process."""
        if self.sharded:
            gather_into(self.module, self.wrapped)
        elif self.average is not None:
            self.average.apply()
        if self.accelerator.num_processes > 1:
            # Batch norms keep statistics of each process's own images.
            for value in self.module.state_dict().values():
                torch.distributed.broadcast(value, 0)
        self.accelerator.free_memory()
        self.module.eval()

    def fraction(self) -> float:
        curve, optimisation = self.curve, self.optimisation
        by_steps = curve.steps / optimisation.steps if optimisation.steps else 1.0
        by_time = curve.seconds / (60 * optimisation.max_minutes) if optimisation.max_minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def trouble(self, what: str, batch: Mapping[str, Any], values: str) -> LinBenchError:
        shown = ""
        if "samples" in batch:
            samples = batch["samples"].tolist()
            names = getattr(self.batches, "names", None)
            shown = f"; samples {', '.join(map(str, samples if names is None else names(samples)))}"
        kept = f"the last checkpoint is kept in {self.folder}" if self.checkpointer.steps() else "no checkpoint is kept"
        return LinBenchError(
            f"the {what} of {self.name} is not finite at step {self.curve.steps} ({values}{shown}); {kept}: lower the "
            "learning rate (--set ...lr=...) or use --set precision=fp32"
        )

    def tell(self, loss: float, speed: float, wait: float, fraction: float) -> None:
        if not (self.progress.console.is_terminal or self.progress.disable):
            left = self.curve.seconds * (1 / fraction - 1)
            self.progress.console.print(
                f"{self.name}: step {self.curve.steps}, loss {loss:.3f}, {speed:.1f} images/s, data wait {wait:.0f} %, "
                f"{left:.0f} s left"
            )


@dataclass
class _Window:
    """Sums since the last point."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)

    def add(self, losses: Mapping[str, float], waited: float, seconds: float) -> None:
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        for key, value in losses.items():
            self.losses[key] = self.losses.get(key, 0.0) + value

    @property
    def wait_percent(self) -> float:
        return 100 * self.waited / self.seconds if self.seconds else 0.0


def _mixed(seed: int, step: int, process: int) -> int:
    # NumPy takes seeds of 32 bits.
    return (seed * 1_000_003 + step * 101 + process) % 2**32


def _to(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        key: value.to(device, non_blocking=True) if torch.is_tensor(value) else value for key, value in batch.items()
    }


def _finite_gradients(module: nn.Module) -> bool:
    return all(bool(torch.isfinite(p.grad).all()) for p in module.parameters() if p.grad is not None)
