"""What one optimiser step computes: the two stages of the RWKV-SAM pipeline as modules from a batch to losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...heads.sam import StrideFourRefine, System
from ..data.batches import TrainBatch
from .losses import mask_losses
from .recipes import MaskLoss


class DistillStep(nn.Module):
    """Stage 1 (paper, Equation 8): mean squared error to a teacher's image embedding.

    Where student and teacher both refine with fine maps, the projected maps are matched too, so that the teacher's
    decoder fits the student afterwards.

    Args:
        student: Backbone and neck are trained.
        teacher: A frozen system with the same embedding size.
    """

    def __init__(self, student: System, teacher: System) -> None:
        super().__init__()
        self.student = student
        # In a tuple, the teacher is no sub-module: not trained, not saved, not moved by `train()`.
        self._teacher = (teacher.eval().requires_grad_(False),)

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Losses by name."""
        with torch.no_grad():
            wanted = self._teacher[0].encode(batch["images"])
        got = self.student.encode(batch["images"])
        losses = {"embedding": F.mse_loss(got.image.float(), wanted.image.float())}
        student, teacher = self.student.mask_decoder.refine, self._teacher[0].mask_decoder.refine
        if isinstance(student, StrideFourRefine) and isinstance(teacher, StrideFourRefine):
            with torch.no_grad():
                target = teacher.project(wanted.maps)
            losses["fine"] = F.mse_loss(student.project(got.maps).float(), target.float())
        return losses


class JointStep(nn.Module):
    """Stage 2: point-sampled BCE and Dice on masks prompted by their boxes.

    Args:
        system: All of it is trained but the parts the recipe freezes.
        loss: Weights and sampling of the losses.
    """

    def __init__(self, system: System, loss: MaskLoss) -> None:
        super().__init__()
        self.system = system
        self.loss = loss

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Losses by name, weighted."""
        embedding = self.system.encode(batch["images"])
        logits, quality = self.system.decode(embedding, boxes=batch["boxes"], image_index=batch["image_index"])
        bce, dice = mask_losses(
            logits,
            batch["masks"].unsqueeze(1),
            points=self.loss.points,
            oversample=self.loss.oversample,
            importance=self.loss.importance,
        )
        # The quality head is not supervised; with zero times its output distributed training finds its gradient.
        return {"bce": self.loss.bce_weight * bce, "dice": self.loss.dice_weight * dice, "quality": 0.0 * quality.sum()}
