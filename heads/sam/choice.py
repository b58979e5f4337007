"""Which of a prompt's masks counts: that of SAM's single token, the best predicted one, or the best by the truth."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UsageError

MaskChoice = Literal["single", "best", "oracle"]


def needs_multimask(choice: MaskChoice) -> bool:
    """Whether a choice is made among the three masks of `System.decode(..., multimask=True)`.

    Raises:
        UsageError: Unknown choice.
    """
    if choice not in get_args(MaskChoice):
        raise UsageError(f"unknown mask choice '{choice}'; expected {', '.join(get_args(MaskChoice))}")
    return choice != "single"


def choose_masks(
    logits: Tensor, quality: Tensor, *, choice: MaskChoice, truth: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Keep one mask for each prompt.

    Args:
        logits: `[N, M, h, w]`; one mask each for `single`.
        quality: `[N, M]`, as the decoder predicts it.
        choice: `single` is the mask of the token made for it; `best` the one whose predicted quality is highest;
            `oracle` the one with the highest IoU with the truth, an upper bound that no user of a system reaches.
        truth: `[N, H, W]` true masks of the frame that the logits cover, at any resolution, for `oracle`.

    Returns:
        Logits `[N, 1, h, w]` and the predicted quality `[N, 1]` of what was chosen.

    Raises:
        UsageError: Unknown choice, several masks for `single`, or truth that is missing, of no use, or misshapen.
    """
    if not needs_multimask(choice) and logits.shape[1] != 1:
        raise UsageError(
            f"choice 'single' keeps the mask of one token, but there are {logits.shape[1]}; decode with multimask=False"
        )
    if (truth is None) == (choice == "oracle"):
        raise UsageError("the true masks are for choice='oracle', which cannot do without: give both or neither")
    scores = quality if truth is None else mask_ious(logits, truth)
    index = scores.argmax(dim=1, keepdim=True)
    height, width = logits.shape[-2:]
    chosen = logits.gather(1, index[..., None, None].expand(-1, -1, height, width))
    return chosen, quality.gather(1, index)


def mask_ious(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU `[N, M]` of masks (logits `[N, M, h, w]` above 0) with the truth `[N, H, W]`, at the truth's resolution.

    Two empty masks have IoU 1.

    Raises:
        UsageError: The shapes do not fit.
    """
    if truth.ndim != 3 or len(truth) != len(logits):
        raise UsageError(
            f"truth has shape {list(truth.shape)}, expected [{len(logits)}, H, W], one mask for each prompt"
        )
    height, width = truth.shape[-2:]
    found = F.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=False) > 0
    wanted = truth.to(found.device).bool().unsqueeze(1)
    both = (found & wanted).sum(dim=(2, 3))
    either = (found | wanted).sum(dim=(2, 3))
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))
