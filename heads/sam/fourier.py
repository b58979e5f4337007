"""Positions as sines and cosines of random frequencies, as SAM's prompt encoders use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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

    def pixels(self, points: Tensor, frame: tuple[int, int]) -> Tensor:
        """Encode the centres of pixels.

        Args:
            points: `[..., 2]` as (x, y).
            frame: Height and width of the frame in pixels.

        Returns:
            `[..., 2 * half_dim]`.
        """
        height, width = frame
        size = torch.tensor([width, height], device=points.device, dtype=torch.float32)
        encoding: Tensor = self((points.float() + 0.5) / size)
        return encoding

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the cell centres of a grid: `[1, 2 * half_dim, height, width]`, channels-last."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        encoding: Tensor = self(torch.stack([xx, yy], dim=-1))
        return encoding.permute(2, 0, 1).unsqueeze(0)
