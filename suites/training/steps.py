"""What one optimiser step computes: the two stages of the RWKV-SAM pipeline as modules from a batch to losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...heads.sam import StrideFourRefine, System
from ..data.batches import TrainBatch
from .averaging import Held
from .losses import mask_losses
from .passes import cut
from .recipes import MaskLoss


class DistillStep(nn.Module):
    """Stage 1 (paper, Equation 8): mean squared error to a teacher's image embedding.

    Where student and teacher both refine with fine maps, the projected maps are matched too, so that the teacher's
    decoder fits the student afterwards.

    Args:
        student: Backbone and neck are trained.
        teacher: A frozen system with the same embedding size.
        fine: Match the projected maps; else the embedding alone.
    """

    def __init__(self, student: System, teacher: System, *, fine: bool = True) -> None:
        super().__init__()
        self.student = student
        self.fine = fine
        self._teacher = Held(teacher)

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Losses by name."""
        with torch.no_grad():
            wanted = self._teacher.module.encode(batch["images"])
        got = self.student.encode(batch["images"])
        losses = {"embedding": F.mse_loss(got.image.float(), wanted.image.float())}
        student, teacher = self.student.mask_decoder.refine, self._teacher.module.mask_decoder.refine
        if self.fine and isinstance(student, StrideFourRefine) and isinstance(teacher, StrideFourRefine):
            with torch.no_grad():
                target = teacher.project(wanted.maps)
            losses["fine"] = F.mse_loss(student.project(got.maps).float(), target.float())
        return losses


class JointStep(nn.Module):
    """Stage 2: point-sampled BCE and Dice on masks prompted by their boxes.

    Args:
        system: All of it is trained but the parts the recipe freezes.
        loss: Weights and sampling of the losses.
        seed: Of an image's points, with its place in the stream, so that they do not depend on its batch.
    """

    def __init__(self, system: System, loss: MaskLoss, seed: int = 0) -> None:
        super().__init__()
        self.system = system
        self.loss = loss
        self.seed = seed

    def cut(self, batch: TrainBatch, passes: int) -> list[dict[str, Any]]:
        """The batch in passes, each image with its masks."""
        return cut(batch, passes, objects=("masks", "boxes"))

    def loss_weight(self, batch: TrainBatch) -> float:
        """Losses are means over masks, of which images have more or fewer."""
        return float(len(batch["masks"]))

    def forward(self, batch: TrainBatch) -> dict[str, Tensor]:
        """Losses by name, weighted; points of batches without `samples` come from the global generator."""
        embedding = self.system.encode(batch["images"])
        logits, quality = self.system.decode(embedding, boxes=batch["boxes"], image_index=batch["image_index"])
        bce, dice = mask_losses(
            logits,
            batch["masks"].unsqueeze(1),
            points=self.loss.points,
            oversample=self.loss.oversample,
            importance=self.loss.importance,
            generator=self._generators(batch, logits.device),
        )
        # The quality head is not supervised; with zero times its output distributed training finds its gradient.
        return {"bce": self.loss.bce_weight * bce, "dice": self.loss.dice_weight * dice, "quality": 0.0 * quality.sum()}

    def _generators(self, batch: TrainBatch, device: torch.device) -> list[torch.Generator] | None:
        """Of each mask, its image's."""
        if "samples" not in batch:
            return None
        seeds = [int(np.random.default_rng([self.seed, place]).integers(2**62)) for place in batch["samples"].tolist()]
        own = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        return [own[index] for index in batch["image_index"].tolist()]
