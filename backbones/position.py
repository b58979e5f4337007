"""Position embeddings at other resolutions, in the one place where they are resized."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError


def square_grid(tokens: int) -> tuple[int, int]:
    """Height and width of the square grid with `tokens` cells.

    Raises:
        UsageError: `tokens` is no square number.
    """
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise UsageError(f"a position embedding with {tokens} grid tokens is not square; expected a square number")
    return side, side


def resize_position_embedding(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a learned embedding to another token grid, bicubic, in fp32.

    Args:
        embedding: `[1, N, C]`, a square grid in row-major order, without class token.
        grid: Target height and width in tokens.

    Returns:
        `[1, H * W, C]` in the embedding's dtype; the very same tensor when the grid fits already.
    """
    _, tokens, channels = embedding.shape
    old = square_grid(tokens)
    if old == grid:
        return embedding
    image = embedding.float().reshape(1, *old, channels).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
    return image.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], channels).to(embedding.dtype)
