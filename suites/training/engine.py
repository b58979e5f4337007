"""The training loop: Accelerate, a schedule in steps or minutes, checkpoints that survive a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import Progress
from torch import Tensor, nn

from ...errors import LinBenchError
from ..data.batches import TrainBatch
from .checkpoint import Checkpointer
from .recipes import Optimisation

CHECKPOINT_SECONDS = 60.0

Probe = Callable[[], dict[str, float]]
Batches = Callable[[int, int, int], Iterable[TrainBatch]]
"""From a step, this process's number and the number of processes to the batches from that step on."""


@dataclass
class Curve:
    """What a stage went through.

    Attributes:
        points: Steps with the mean losses since the last point, and scores where the model was probed.
        steps: Steps done.
        seconds: Time spent in steps, probes left out, over all runs of the stage.
    """

    points: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0


def train_stage(  # noqa: PLR0915 - one loop, read from top to bottom
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
) -> Curve:
    """Train a module whose `forward(batch)` gives losses by name; resumes where an earlier run was cut off.

    Args:
        name: Shown in the progress bar.
        module: Its trainable parameters are optimised.
        batches: See `Batches`; must not depend on earlier calls.
        optimisation: Steps, learning rate and so on.
        accelerator: Device, precision and processes.
        folder: Checkpoints of this stage.
        seed: Random numbers of step `i` depend on it and on `i` only.
        progress: Bar with loss and time left.
        probe: Scores of the model so far, called a few times and at the end.
        points: Points of the loss curve.
        probes: Times that the model is probed.

    Raises:
        LinBenchError: The loss is not finite; says at which step, and keeps the last checkpoint.
        StoreError: A checkpoint cannot be written.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(module, optimisation.weight_decay), lr=optimisation.lr, betas=optimisation.betas, fused=True
    )
    checkpointer = Checkpointer(folder)
    curve = Curve()
    # Before `prepare`, so that names carry no wrapper's prefix.
    restored = checkpointer.restore(module, optimizer)
    if restored is not None:
        curve = Curve(**restored[1])
    module.train()
    wrapped, prepared = accelerator.prepare(module, optimizer)
    task = progress.add_task(name, total=1.0, loss=float("nan"))
    point_every = max(1, optimisation.steps // points)
    next_probe = 1 / probes
    running: dict[str, float] = {}
    since = 0
    saved = time.monotonic()

    def save() -> None:
        if accelerator.is_main_process:
            extra = {"points": curve.points, "steps": curve.steps, "seconds": curve.seconds}
            checkpointer.save(curve.steps, accelerator.unwrap_model(wrapped), optimizer, extra)

    stream = iter(batches(curve.steps, accelerator.process_index, accelerator.num_processes))
    while _fraction(curve, optimisation) < 1:
        started = time.monotonic()
        batch = next(stream)
        torch.manual_seed(_mixed(seed, curve.steps, accelerator.process_index))
        rate = learning_rate(optimisation, curve.steps, _fraction(curve, optimisation))
        for group in prepared.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            losses: dict[str, Tensor] = wrapped(_to(batch, accelerator.device))
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            values = ", ".join(f"{k} {v.item():.3g}" for k, v in losses.items())
            raise LinBenchError(
                f"the loss of {name} is not finite at step {curve.steps} ({values}); the last checkpoint is kept in "
                f"{folder}: lower the learning rate (--set ...lr=...) or use --set precision=fp32"
            )
        accelerator.backward(total)
        if optimisation.clip_norm is not None:
            accelerator.clip_grad_norm_(wrapped.parameters(), optimisation.clip_norm)
        prepared.step()
        prepared.zero_grad(set_to_none=True)
        curve.steps += 1
        curve.seconds += time.monotonic() - started
        if accelerator.num_processes > 1:
            # All processes must agree on when the stage is over.
            mine = torch.tensor(curve.seconds, device=accelerator.device)
            curve.seconds = float(accelerator.reduce(mine, reduction="mean"))

        since += 1
        for key, value in losses.items():
            running[key] = running.get(key, 0.0) + float(value.detach())
        fraction = _fraction(curve, optimisation)
        progress.update(task, completed=fraction, loss=float(total.detach()))
        if curve.steps % point_every == 0 or fraction >= 1:
            point: dict[str, float] = {"step": curve.steps, "seconds": round(curve.seconds, 1), "lr": rate}
            point.update({key: value / since for key, value in running.items() if key != "quality"})
            if probe is not None and fraction >= next_probe - 1e-9:
                module.eval()
                point.update(probe())
                module.train()
                next_probe = (math.floor(fraction * probes) + 1) / probes
            curve.points.append(point)
            running, since = {}, 0
            if not (progress.console.is_terminal or progress.disable):
                left = curve.seconds * (1 / fraction - 1)
                progress.console.print(
                    f"{name}: step {curve.steps}, loss {float(total.detach()):.3f}, {left:.0f} s left"
                )
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.monotonic()
    save()
    progress.update(task, completed=1.0)
    accelerator.free_memory()
    module.eval()
    return curve


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices and kernels decay; norms, biases and other vectors do not."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p.squeeze().ndim >= 2]
    plain = [p for p in trainable if p.squeeze().ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate(optimisation: Optimisation, step: int, fraction: float) -> float:
    """Rate of a step: linear warm-up by steps, cosine by the fraction of the stage that is over (0..1)."""
    warmup = min(1.0, (step + 1) / (optimisation.warmup_steps + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
    return optimisation.lr * warmup * (optimisation.lr_end + (1 - optimisation.lr_end) * cosine)


def _fraction(curve: Curve, optimisation: Optimisation) -> float:
    by_steps = curve.steps / optimisation.steps if optimisation.steps else 1.0
    by_time = curve.seconds / (60 * optimisation.max_minutes) if optimisation.max_minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def _mixed(seed: int, step: int, process: int) -> int:
    return (seed * 1_000_003 + step * 101 + process) % 2**63


def _to(batch: TrainBatch, device: torch.device) -> TrainBatch:
    return {key: value.to(device, non_blocking=True) for key, value in batch.items()}  # type: ignore[return-value, attr-defined]
