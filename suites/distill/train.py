"""Train a system's encoder on a teacher's embeddings."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...heads.sam import System
from ..training.accelerators import open_accelerator, progress_bar
from ..training.averaging import Held
from ..training.engine import Batches, train_stage
from ..training.options import DEFAULT, EngineOptions
from ..training.pipeline import Trained, copy_decoder
from ..training.precision import resolve_precision
from ..training.recipes import Recipe
from .stream import TeacherBatch

STAGE = "distill"


class EmbeddingStep(nn.Module):
    """Mean squared error between the student's and the teacher's image embedding (RWKV-SAM, Equation 8).

    Args:
        student: Its backbone and neck are trained.
        teacher: A frozen system for batches that bring no embeddings; None where all do.
    """

    def __init__(self, student: System, teacher: System | None = None) -> None:
        super().__init__()
        self.student = student
        self._teacher = None if teacher is None else Held(teacher)

    def forward(self, batch: TeacherBatch) -> dict[str, Tensor]:
        """The loss by name."""
        if self._teacher is None:
            wanted = batch["embedding"]
        else:
            with torch.no_grad():
                wanted = self._teacher.module.encode(batch.get("teacher_images", batch["images"])).image
        got = self.student.encode(batch["images"]).image
        return {"embedding": F.mse_loss(got.float(), wanted.float())}


def distill_encoder(
    student: System,
    recipe: Recipe,
    *,
    teacher: System,
    computed: bool,
    batches: Batches,
    folder: Path,
    seed: int,
    device: str = "cpu",
    quiet: bool = False,
    engine: EngineOptions = DEFAULT,
) -> Trained:
    """Train backbone and neck of `student` in place; what fits of the teacher's decoder is copied first.

    Args:
        student: System to train.
        recipe: Its `distill` stage.
        teacher: System to learn from.
        computed: Whether the teacher computes its embeddings here; otherwise the batches bring them.
        batches: Batches of `TeacherBatch`.
        folder: Checkpoints; a run that was cut off resumes from them.
        seed: Random numbers of stochastic depth.
        device: `cpu`, `cuda` or `cuda:<n>`.
        quiet: Show no progress bar.
        engine: How the training loop is run.

    Raises:
        LinBenchError: The loss is not finite.
        StoreError: A checkpoint cannot be written.
    """
    precision = resolve_precision(recipe.precision, torch.device(device))
    accelerator = open_accelerator(precision, device)
    copy_decoder(teacher, student)
    student.to(accelerator.device).requires_grad_(False)
    for part in (student.backbone, student.neck):
        part.requires_grad_(True)
    step = EmbeddingStep(student, teacher.to(accelerator.device) if computed else None)
    with progress_bar(accelerator, quiet=quiet) as progress:
        curve = train_stage(
            STAGE,
            step,
            batches,
            recipe.distill,
            accelerator=accelerator,
            folder=folder / STAGE,
            seed=seed,
            progress=progress,
            engine=engine,
        )
    student.requires_grad_(True)
    student.eval()
    return Trained({STAGE: curve}, precision)
