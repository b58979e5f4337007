"""SAM's prompt encoder: points, boxes and masks to tokens and a dense embedding (segment-anything)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from .fourier import RandomFourierEncoding
from .official import OfficialNames
from .prompts import BACKGROUND, FOREGROUND, NOT_A_POINT, count_prompts

LABELS = (FOREGROUND, BACKGROUND, NOT_A_POINT)


class PromptEncoder(OfficialNames):
    """Points, boxes and masks of N prompts to sparse tokens and a dense embedding.

    The frame is an argument of each call, so one encoder serves every input size.

    Args:
        embed_dim: Channels of the image embedding and of the tokens.
        mask_channels: Hidden channels of the mask branch.
    """

    official_prefix = "prompt_encoder."

    def __init__(self, *, embed_dim: int = 256, mask_channels: int = 16) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.pe_layer = RandomFourierEncoding(half_dim=embed_dim // 2)
        # Background point, foreground point, top left corner, bottom right corner.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def forward(
        self,
        *,
        frame: tuple[int, int],
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode N prompts; give at least one kind.

        Args:
            frame: Height and width, in pixels, of the image that coordinates refer to.
            points: `[N, P, 2]` as (x, y) in pixels.
            labels: `[N, P]`: 1 foreground, 0 background, -1 no point (padding).
            boxes: `[N, 4]` as (x0, y0, x1, y1) in pixels.
            masks: `[N, 1, H/4, W/4]` logits of an earlier prediction.

        Returns:
            Sparse tokens `[N, S, C]`: points, a padding token where there is no box, the corners of the box. The
            dense embedding: `[N, C, H/16, W/16]` with masks, else `[1, C, 1, 1]`, the same for every cell and prompt.

        Raises:
            UsageError: No prompt, shapes that do not fit, or an unknown label.
        """
        count = count_prompts(frame, points=points, labels=labels, boxes=boxes, masks=masks, known_labels=LABELS)
        weight = self.no_mask_embed.weight
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self._point_tokens(points.to(weight.device), labels.to(weight.device), frame, boxes is None))
        if boxes is not None:
            tokens.append(self._box_tokens(boxes.to(weight.device), frame))
        sparse = torch.cat(tokens, dim=1) if tokens else weight.new_zeros(count, 0, self.embed_dim)
        if masks is None:
            return sparse, weight.reshape(1, -1, 1, 1)
        return sparse, self.mask_downscaling(masks.to(weight.device, weight.dtype))

    def dense_pe(self, grid: tuple[int, int]) -> Tensor:
        """Position encoding `[1, C, h, w]` of an image embedding of h x w cells."""
        return self.pe_layer.grid(*grid)

    def _point_tokens(self, points: Tensor, labels: Tensor, frame: tuple[int, int], pad: bool) -> Tensor:
        if pad:
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1)
        background, foreground = self._point_embedding(0), self._point_embedding(1)
        label = labels.unsqueeze(-1)
        position = self.pe_layer.pixels(points, frame) + torch.where(label == FOREGROUND, foreground, background)
        return torch.where(label == NOT_A_POINT, self.not_a_point_embed.weight, position)

    def _box_tokens(self, boxes: Tensor, frame: tuple[int, int]) -> Tensor:
        corners = torch.cat([self._point_embedding(2), self._point_embedding(3)])
        return self.pe_layer.pixels(boxes.reshape(-1, 2, 2), frame) + corners

    def _point_embedding(self, index: int) -> Tensor:
        return cast(nn.Embedding, self.point_embeddings[index]).weight
