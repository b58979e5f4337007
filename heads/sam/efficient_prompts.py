"""EfficientSAM's prompt encoder: up to six points, of which two may be the corners of a box.

Source: Xiong et al., "EfficientSAM" (arXiv 2312.00863; yformer/EfficientSAM). Parameter names are the official ones.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UsageError
from .fourier import RandomFourierEncoding
from .official import OfficialNames
from .prompts import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOT_A_POINT, TOP_LEFT, count_prompts

TOKENS = 6
OUTSIDE = -1.0
LABELS = (FOREGROUND, BACKGROUND, TOP_LEFT, BOTTOM_RIGHT, NOT_A_POINT)


class EfficientPromptEncoder(OfficialNames):
    """Points and boxes of N prompts to six tokens each; EfficientSAM has neither mask prompts nor background points.

    Args:
        embed_dim: Channels of the image embedding and of the tokens.
    """

    official_prefix = "prompt_encoder."

    def __init__(self, *, embed_dim: int = 256) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.pe_layer = RandomFourierEncoding(half_dim=embed_dim // 2)
        self.invalid_points = nn.Embedding(1, embed_dim)
        self.point_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_top_left_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, embed_dim)

    def forward(
        self,
        *,
        frame: tuple[int, int],
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode N prompts; give points, boxes or both.

        As in the original, a background point (0) gets no embedding of its own, and points that are too many are left
        out; of both a warning tells.

        Args:
            frame: Height and width, in pixels, of the image that coordinates refer to.
            points: `[N, P, 2]` as (x, y) in pixels.
            labels: `[N, P]`: 1 point, 2 top left corner, 3 bottom right corner, 0 background, -1 no point (padding).
            boxes: `[N, 4]` as (x0, y0, x1, y1) in pixels; the same as two points with labels 2 and 3.
            masks: None.

        Returns:
            Tokens `[N, 6, C]`, and zeros `[1, C, 1, 1]` in place of a dense embedding.

        Raises:
            UsageError: No prompt, a mask, shapes that do not fit, or an unknown label.
        """
        if masks is not None:
            raise UsageError("EfficientSAM takes no masks as prompts; give boxes, or points with labels")
        count = count_prompts(frame, points=points, labels=labels, boxes=boxes, masks=None, known_labels=LABELS)
        device = self.point_embeddings.weight.device
        places, kinds = torch.zeros(count, 0, 2, device=device), torch.zeros(count, 0, device=device, dtype=torch.long)
        if boxes is not None:
            places = boxes.to(device, torch.float32).reshape(-1, 2, 2)
            kinds = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=device).expand(count, 2)
        if points is not None and labels is not None:
            self._warn_of(labels, room=TOKENS - places.shape[1])
            places = torch.cat([places, points.to(places)], dim=1)[:, :TOKENS]
            kinds = torch.cat([kinds, labels.to(kinds)], dim=1)[:, :TOKENS]
        places = torch.where(places < 0, OUTSIDE, places)
        missing = TOKENS - places.shape[1]
        places = F.pad(places, (0, 0, 0, missing), value=OUTSIDE)
        kinds = F.pad(kinds, (0, missing), value=NOT_A_POINT).unsqueeze(-1)
        tokens = self.pe_layer.pixels(places, frame)
        for label, embedding in (
            (NOT_A_POINT, self.invalid_points),
            (FOREGROUND, self.point_embeddings),
            (TOP_LEFT, self.bbox_top_left_embeddings),
            (BOTTOM_RIGHT, self.bbox_bottom_right_embeddings),
        ):
            tokens = torch.where(kinds == label, tokens + embedding.weight, tokens)
        return tokens, self.invalid_points.weight.new_zeros(1, self.embed_dim, 1, 1)

    def dense_pe(self, grid: tuple[int, int]) -> Tensor:
        """Position encoding `[1, C, h, w]` of an image embedding of h x w cells."""
        return self.pe_layer.grid(*grid)

    @staticmethod
    def _warn_of(labels: Tensor, *, room: int) -> None:
        if labels.shape[1] > room:
            warnings.warn(f"EfficientSAM reads {TOKENS} points, a box being two: the last are left out", stacklevel=3)
        if bool((labels == BACKGROUND).any()):
            warnings.warn("EfficientSAM knows no background points: label 0 says nothing to it", stacklevel=3)
