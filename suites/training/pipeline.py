"""Train a SAM system by a recipe: distill from a teacher, then train jointly on masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from ...heads.sam import StrideFourRefine, System
from .engine import Batches, Curve, Probe, train_stage
from .precision import resolve_precision
from .recipes import Recipe
from .steps import DistillStep, JointStep


@dataclass
class Trained:
    """What training left behind besides the trained system itself.

    Attributes:
        curves: Learning curve of each stage that ran.
        precision: `bf16` or `fp32`.
    """

    curves: dict[str, Curve]
    precision: str


def train_system(
    student: System,
    recipe: Recipe,
    *,
    teacher: System | None,
    distill_batches: Batches,
    joint_batches: Batches,
    folder: Path,
    seed: int,
    device: str = "cpu",
    probe: Probe | None = None,
    after_distill: Callable[[], None] | None = None,
    quiet: bool = False,
) -> Trained:
    """Train `student` in place.

    With a teacher of the same decoder, its prompt encoder and mask decoder are copied first, and stage 1 fits the
    student's backbone, neck and fine-map projections to them. Without one, stage 1 is left out.

    Args:
        student: System to train.
        recipe: Steps, rates, losses.
        teacher: System to learn from, or None.
        distill_batches: Batches of stage 1.
        joint_batches: Batches of stage 2.
        folder: Checkpoints; a run that was cut off resumes from them.
        seed: Random numbers of losses and stochastic depth.
        device: `cpu`, `cuda` or `cuda:<n>`.
        probe: Scores for the learning curve.
        after_distill: Called between the stages.
        quiet: Show no progress bar.

    Raises:
        LinBenchError: The loss is not finite.
        StoreError: A checkpoint cannot be written.
    """
    precision = resolve_precision(recipe.precision, torch.device(device))
    accelerator = open_accelerator(precision, device)
    student.to(accelerator.device)
    curves: dict[str, Curve] = {}
    with progress_bar(accelerator, quiet=quiet) as progress:

        def stage(name: str, module: nn.Module, batches: Batches) -> None:
            curves[name] = train_stage(
                name,
                module,
                batches,
                recipe.distill if name == "distill" else recipe.joint,
                accelerator=accelerator,
                folder=folder / name,
                seed=seed,
                progress=progress,
                probe=probe if name == "joint" else None,
            )

        if teacher is not None and recipe.distill.steps:
            copy_decoder(teacher, student)
            student.requires_grad_(False)
            for part in _encoder_parts(student):
                part.requires_grad_(True)
            stage("distill", DistillStep(student, teacher.to(accelerator.device)), distill_batches)
        if after_distill is not None:
            after_distill()
        if recipe.joint.steps:
            student.requires_grad_(True)
            student.prompt_encoder.requires_grad_(recipe.train_prompt_encoder)
            stage("joint", JointStep(student, recipe.loss), joint_batches)
    student.requires_grad_(True)
    student.eval()
    return Trained(curves, precision)


def open_accelerator(precision: str, device: str) -> Accelerator:
    """Accelerate's handle for a device and a precision, `bf16` or `fp32`."""
    return Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=device == "cpu")


def progress_bar(accelerator: Accelerator, *, quiet: bool = False) -> Progress:
    """A bar with loss and time left, in the main process only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # Standard output belongs to the results.
    return Progress(*columns, console=Console(stderr=True), disable=quiet or not accelerator.is_main_process)


def copy_decoder(teacher: System, student: System) -> None:
    """Copy prompt encoder and mask decoder; what has another shape (projections of fine maps) stays as it is."""
    for source, target in (
        (teacher.prompt_encoder, student.prompt_encoder),
        (teacher.mask_decoder, student.mask_decoder),
    ):
        own = target.state_dict()
        fitting = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
        target.load_state_dict(fitting, strict=False)


def _encoder_parts(system: System) -> list[nn.Module]:
    """What computes the embedding and the projected fine maps."""
    refine = system.mask_decoder.refine
    projections = [refine.hr_feat_proj, refine.mr_feat_proj] if isinstance(refine, StrideFourRefine) else []
    return [system.backbone, system.neck, *projections]
