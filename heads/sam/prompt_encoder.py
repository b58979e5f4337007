"""SAM's prompt encoder: points, boxes and masks to tokens and a dense embedding (segment-anything)."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from ...errors import UsageError
from .official import OfficialNames

NOT_A_POINT, BACKGROUND, FOREGROUND = -1, 0, 1


class RandomFourierEncoding(nn.Module):
    """Positions to `[sin, cos]` of random frequencies; the frequencies are a buffer that checkpoints carry."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, *, half_dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", scale * torch.randn(2, half_dim))

    def forward(self, positions: Tensor) -> Tensor:
        """Encode positions.

        Args:
            positions: `[..., 2]` as (x, y), 0..1 across the frame.

        Returns:
            `[..., 2 * half_dim]`.
        """
        # Sums of products instead of a matmul: autocast would round the angles to bfloat16.
        across, down = self.positional_encoding_gaussian_matrix.float()
        x, y = (2 * positions.float() - 1).unsqueeze(-2).unbind(-1)
        angles = 2 * math.pi * (x * across + y * down)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the cell centres of a grid: `[1, 2 * half_dim, height, width]`, channels-last."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        encoding: Tensor = self(torch.stack([xx, yy], dim=-1))
        return encoding.permute(2, 0, 1).unsqueeze(0)


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
        count = self._count(frame, points, labels, boxes, masks)
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

    def _encode(self, pixels: Tensor, frame: tuple[int, int]) -> Tensor:
        height, width = frame
        size = torch.tensor([width, height], device=pixels.device, dtype=torch.float32)
        encoding: Tensor = self.pe_layer((pixels.float() + 0.5) / size)
        return encoding

    def _point_tokens(self, points: Tensor, labels: Tensor, frame: tuple[int, int], pad: bool) -> Tensor:
        if pad:
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1)
        background, foreground = self._point_embedding(0), self._point_embedding(1)
        label = labels.unsqueeze(-1)
        position = self._encode(points, frame) + torch.where(label == FOREGROUND, foreground, background)
        return torch.where(label == NOT_A_POINT, self.not_a_point_embed.weight, position)

    def _box_tokens(self, boxes: Tensor, frame: tuple[int, int]) -> Tensor:
        corners = torch.cat([self._point_embedding(2), self._point_embedding(3)])
        return self._encode(boxes.reshape(-1, 2, 2), frame) + corners

    def _point_embedding(self, index: int) -> Tensor:
        return cast(nn.Embedding, self.point_embeddings[index]).weight

    @staticmethod
    def _count(
        frame: tuple[int, int], points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Tensor | None
    ) -> int:
        if (points is None) != (labels is None):
            raise UsageError("points and labels belong together: give both (1 foreground, 0 background) or neither")
        given = {name: t for name, t in (("points", points), ("boxes", boxes), ("masks", masks)) if t is not None}
        if not given:
            raise UsageError("no prompt: give boxes [N, 4], points [N, P, 2] with labels [N, P], or masks")
        counts = {name: len(t) for name, t in given.items()}
        if len(set(counts.values())) > 1:
            raise UsageError(f"the prompts differ in number: {counts}; give one of each kind per prompt")
        quarter = (1, frame[0] // 4, frame[1] // 4)
        expected = {"points": "[N, P, 2]", "boxes": "[N, 4]", "masks": f"[N, {', '.join(map(str, quarter))}]"}
        fits = {
            "points": lambda t: t.ndim == 3 and t.shape[2] == 2,
            "boxes": lambda t: t.ndim == 2 and t.shape[1] == 4,
            "masks": lambda t: t.shape[1:] == quarter,
        }
        for name, tensor in given.items():
            if not fits[name](tensor):
                raise UsageError(f"{name} has shape {list(tensor.shape)}, expected {expected[name]}")
        if points is not None and labels is not None:
            if labels.shape != points.shape[:2]:
                raise UsageError(f"labels has shape {list(labels.shape)}, expected {list(points.shape[:2])}")
            known = (labels == FOREGROUND) | (labels == BACKGROUND) | (labels == NOT_A_POINT)
            if not bool(known.all()):
                raise UsageError("labels must be 1 (foreground), 0 (background) or -1 (no point)")
        return next(iter(counts.values()))
