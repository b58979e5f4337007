"""Train a SAM system by a recipe: distill from a teacher, then train jointly on masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ...errors import UsageError
from ...heads.sam import StrideFourRefine, System
from .accelerators import open_accelerator, progress_bar
from .engine import Batches, Curve, Probe, train_stage
from .options import DEFAULT, EngineOptions
from .precision import resolve_precision
from .recipes import Recipe
from .steps import DistillStep, JointStep

REFINE = "refine."

EncoderStart = Literal["auto", "distilled", "copied", "fresh"]


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
    encoder: EncoderStart = "auto",
    share_refine: bool = True,
    distill_batches: Batches,
    joint_batches: Batches,
    folder: Path,
    seed: int,
    device: str = "cpu",
    probe: Probe | None = None,
    after_distill: Callable[[], None] | None = None,
    quiet: bool = False,
    engine: EngineOptions = DEFAULT,
) -> Trained:
    """Train `student` in place.

    With a teacher of the same decoder, its prompt encoder and mask decoder are copied first, and stage 1 fits the
    student's backbone, neck and fine-map projections to them. Without one, stage 1 is left out.

    Args:
        student: System to train.
        recipe: Steps, rates, losses.
        teacher: System to learn from, or None.
        encoder: Where the student's encoder starts, if there is a teacher: `distilled` (or `auto`) in stage 1, `copied`
            from a teacher of the same backbone, or `fresh`, as it is. The decoder is copied in any case.
        share_refine: Copy the teacher's refine module too, and fit its projected fine maps in stage 1.
        distill_batches: Batches of stage 1.
        joint_batches: Batches of stage 2.
        folder: Checkpoints; a run that was cut off resumes from them.
        seed: Random numbers of losses and stochastic depth.
        device: `cpu`, `cuda` or `cuda:<n>`.
        probe: Scores for the learning curve.
        after_distill: Called between the stages.
        quiet: Show no progress bar.
        engine: How the training loop is run.

    Raises:
        UsageError: The processes cannot share a step's images equally.
        LinBenchError: The loss is not finite.
        StoreError: A checkpoint cannot be written.
    """
    precision = resolve_precision(recipe.precision, torch.device(device))
    accelerator = open_accelerator(precision, device)
    for optimisation in (recipe.distill, recipe.joint):
        optimisation.share(accelerator.num_processes)
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
                engine=engine,
            )

        distilled = encoder in ("auto", "distilled")
        if teacher is not None and (recipe.distill.steps or not distilled):
            copy_decoder(teacher, student, refine=share_refine)
        if teacher is not None and encoder == "copied":
            copy_encoder(teacher, student)
        if teacher is not None and recipe.distill.steps and distilled:
            student.requires_grad_(False)
            for part in _encoder_parts(student, fine=share_refine):
                part.requires_grad_(True)
            step = DistillStep(student, teacher.to(accelerator.device), fine=share_refine)
            stage("distill", step, distill_batches)
        if after_distill is not None:
            after_distill()
        if recipe.joint.steps:
            student.requires_grad_(True)
            student.prompt_encoder.requires_grad_(recipe.train_prompt_encoder)
            stage("joint", JointStep(student, recipe.loss, seed), joint_batches)
    student.requires_grad_(True)
    student.eval()
    return Trained(curves, precision)


def copy_decoder(teacher: System, student: System, *, refine: bool = True) -> None:
    """Copy prompt encoder and mask decoder; what has another shape (projections of fine maps) stays as it is.

    Args:
        teacher: Where from.
        student: Where to.
        refine: Copy what fits of the refine module too.
    """
    for source, target in (
        (teacher.prompt_encoder, student.prompt_encoder),
        (teacher.mask_decoder, student.mask_decoder),
    ):
        own = target.state_dict()
        given = {k: v for k, v in source.state_dict().items() if refine or not k.startswith(REFINE)}
        fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        target.load_state_dict(fitting, strict=False)


def copy_encoder(teacher: System, student: System) -> None:
    """Copy backbone and neck of a system of the same backbone.

    Raises:
        UsageError: It has another.
    """
    try:
        student.backbone.load_state_dict(teacher.backbone.state_dict())
        student.neck.load_state_dict(teacher.neck.state_dict())
    except RuntimeError as error:
        raise UsageError("the teacher has another backbone than the student, so nothing of it can be copied") from error


def _encoder_parts(system: System, *, fine: bool) -> list[nn.Module]:
    """What computes the embedding and, with `fine`, the projected fine maps."""
    refine = system.mask_decoder.refine
    projections = [refine.hr_feat_proj, refine.mr_feat_proj] if fine and isinstance(refine, StrideFourRefine) else []
    return [system.backbone, system.neck, *projections]
