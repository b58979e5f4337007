"""Losses of the joint-training stage: binary cross-entropy and Dice on sampled points.

Source: PointRend's uncertainty-guided point sampling as Mask2Former uses it; RWKV-SAM trains with weights 5 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None


class MaskLosses(NamedTuple):
    """Unweighted losses, each a scalar."""

    bce: Tensor
    dice: Tensor


def point_sample(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps at points, bilinear.

    Args:
        maps: `[N, 1, H, W]`.
        points: `[N, P, 2]` as (x, y) in 0..1 of the map's width and height.

    Returns:
        `[N, P]`.
    """
    return F.grid_sample(maps, 2 * points.unsqueeze(1) - 1, align_corners=False)[:, 0, 0]


@torch.no_grad()
def uncertain_points(
    logits: Tensor, *, points: int, oversample: float, importance: float, generator: Generators = None
) -> Tensor:
    """Choose points: most where the logits are nearest to zero, the rest uniformly.

    Args:
        logits: `[N, 1, H, W]`.
        points: Points per mask.
        oversample: Candidates per point that is wanted.
        importance: Share of the points taken from the most uncertain candidates.
        generator: Random numbers for the candidates; one for all masks, or one for each, which may be shared.

    Returns:
        `[N, points, 2]` as (x, y) in 0..1.
    """
    masks = logits.shape[0]
    candidates = _uniform(masks, int(points * oversample), logits.device, generator)
    certainty = point_sample(logits, candidates).abs()
    important = int(points * importance)
    index = certainty.topk(important, dim=1, largest=False).indices
    chosen = candidates.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat([chosen, _uniform(masks, points - important, logits.device, generator)], dim=1)


def _uniform(masks: int, points: int, device: torch.device, generator: Generators) -> Tensor:
    """`[masks, points, 2]` in 0..1."""
    if generator is None or isinstance(generator, torch.Generator):
        return torch.rand(masks, points, 2, device=device, generator=generator)
    return torch.stack([torch.rand(points, 2, device=device, generator=one) for one in generator])


def mask_losses(
    logits: Tensor,
    truth: Tensor,
    *,
    points: int = 12544,
    oversample: float = 3.0,
    importance: float = 0.75,
    generator: Generators = None,
) -> MaskLosses:
    """Point-sampled losses of predicted masks.

    Args:
        logits: `[N, 1, h, w]`.
        truth: `[N, 1, H, W]` with values 0 and 1, of any size: points are relative.
        points: Points per mask (112 x 112 by default).
        oversample: See `uncertain_points`.
        importance: See `uncertain_points`.
        generator: See `uncertain_points`.

    Returns:
        Binary cross-entropy, averaged over points and masks, and Dice (linear sums, +1 in both parts), likewise.
    """
    logits = logits.float()
    where = uncertain_points(logits, points=points, oversample=oversample, importance=importance, generator=generator)
    predicted = point_sample(logits, where)
    wanted = point_sample(truth.float(), where)
    bce = F.binary_cross_entropy_with_logits(predicted, wanted)
    probability = predicted.sigmoid()
    overlap = 2 * (probability * wanted).sum(dim=1) + 1
    dice = 1 - overlap / (probability.sum(dim=1) + wanted.sum(dim=1) + 1)
    return MaskLosses(bce, dice.mean())
