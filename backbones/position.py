"""Position embeddings at other resolutions, in the one place where they are resized."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError


def square_grid(tokens: int) -> tuple[int, int]:
    """Height and width of the square grid with `tokens` cells.

    Raises:
        UsageError: `tokens` is no square number.
    """
    # Not math.isqrt: the compiler of torch 2.6 does not know it.
    side = round(tokens**0.5)
    if side * side != tokens:
        raise UsageError(f"a position embedding with {tokens} grid tokens is not square; expected a square number")
    return side, side


def resize_position_embedding(
    embedding: Tensor, grid: tuple[int, int], *, old: tuple[int, int] | None = None
) -> Tensor:
    """Resize a learned embedding to another token grid, bicubic, in fp32.

    Args:
        embedding: `[1, N, C]`, a grid in row-major order, without class token.
        grid: Target height and width in tokens.
        old: Height and width of the embedding; a square where not given.

    Returns:
        `[1, H * W, C]` in the embedding's dtype; the very same tensor when the grid fits already.
    """
    _, tokens, channels = embedding.shape
    old = old or square_grid(tokens)
    if old == grid:
        return embedding
    image = embedding.float().reshape(1, *old, channels).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
    return image.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], channels).to(embedding.dtype)


def resize_relative_table(table: Tensor, length: int) -> Tensor:
    """Interpolate a table of relative positions `[L, C]` along one axis linearly, in fp32.

    Returns:
        `[length, C]` in the table's dtype; the very same tensor when the length fits already.
    """
    if len(table) == length:
        return table
    row = F.interpolate(table.float().T.unsqueeze(0), size=length, mode="linear", align_corners=False)
    return row[0].T.to(table.dtype)


def has_middle_token(embedding: Tensor) -> bool:
    """Whether `embedding: [1, N, C]` is a square grid and one row more."""
    patches = embedding.shape[1] - 1 if embedding.ndim == 3 else 0
    return patches > 0 and math.isqrt(patches) ** 2 == patches


def insert_middle_token(tokens: Tensor, token: Tensor) -> Tensor:
    """Put `token: [B, 1, C]` in front of row `M // 2` of `tokens: [B, M, C]`; `[B, M + 1, C]`."""
    middle = tokens.shape[1] // 2
    return torch.cat([tokens[:, :middle], token, tokens[:, middle:]], dim=1)


def split_middle_token(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Take row `M // 2` out of `tokens: [B, M + 1, C]`; the others `[B, M, C]` and the row `[B, 1, C]`."""
    middle = (tokens.shape[1] - 1) // 2
    return torch.cat([tokens[:, :middle], tokens[:, middle + 1 :]], dim=1), tokens[:, middle : middle + 1]


def resize_around_middle_token(
    embedding: Tensor, grid: tuple[int, int], *, old: tuple[int, int] | None = None
) -> Tensor:
    """Resize a learned embedding whose class row stands in its middle; that row moves to the middle of the new grid.

    Args:
        embedding: `[1, N + 1, C]`, a grid in row-major order and a class row in front of its row `N // 2`.
        grid: Target height and width in tokens.
        old: Height and width of the embedding; a square where not given.

    Returns:
        `[1, H * W + 1, C]`; the very same tensor when the grid fits already.
    """
    if (old or square_grid(embedding.shape[1] - 1)) == grid:
        return embedding
    patches, token = split_middle_token(embedding)
    return insert_middle_token(resize_position_embedding(patches, grid, old=old), token)
