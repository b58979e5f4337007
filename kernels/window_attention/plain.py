"""Local attention on `scaled_dot_product_attention`: one call for all blocks, which never sees the whole matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sliding(q: Tensor, k: Tensor, v: Tensor, before: int, after: int, scale: float) -> Tensor:
    """Queries in blocks as long as the window; a block sees the keys from `before` its first to `after` its last."""
    tokens = q.shape[2]
    length = max(1, min(tokens, before + after + 1))
    blocks = -(-tokens // length)
    reach = length + before + after
    tail = blocks * length - tokens

    def overlapping(x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, before, after + tail)).flatten(0, 1)
        return padded.unfold(1, reach, length).transpose(2, 3)

    queries = F.pad(q, (0, 0, 0, tail)).flatten(0, 1).unflatten(1, (blocks, length))
    query = torch.arange(length, device=q.device)[:, None]
    key = torch.arange(reach, device=q.device)
    near = (key >= query) & (key <= query + before + after)
    # Padding in front is unseen; padding behind is seen by padded queries only, so that no row is without keys.
    first = torch.arange(blocks, device=q.device)[:, None, None] * length
    position = first + key - before
    real = (position >= 0) & ((position < tokens) | (first + query >= tokens))
    out = F.scaled_dot_product_attention(queries, overlapping(k), overlapping(v), attn_mask=near & real, scale=scale)
    return out.flatten(1, 2)[:, :tokens].unflatten(0, q.shape[:2])


def _windows(x: Tensor, grid: tuple[int, int], window: tuple[int, int], padding: tuple[int, int, int, int]) -> Tensor:
    """`[..., H * W, E]` to `[..., windows, tokens of a window, E]`, the grid padded with zeros."""
    image = F.pad(x.unflatten(-2, grid), (0, 0, *padding))
    tiles = image.unflatten(-2, (-1, window[1])).unflatten(-4, (-1, window[0]))
    return tiles.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)


def windowed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    window: tuple[int, int],
    shift: tuple[int, int],
    scale: float,
) -> Tensor:
    """Attention within windows; what lies outside the grid is padding that nothing sees."""
    (height, width), (rows, columns) = grid, window
    top, left = shift
    bottom, right = -(height + top) % rows, -(width + left) % columns
    padding = (left, right, top, bottom)
    mask = None
    if any(padding):
        real = _windows(q.new_ones(height * width, 1, dtype=torch.bool), grid, window, padding)[..., 0]
        # Padded queries see all, so that no row is without keys; what they find is dropped.
        mask = real[:, None, :] | ~real[:, :, None]
    q, k, v = (_windows(x, grid, window, padding).flatten(0, 1) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    down, across = (height + top + bottom) // rows, (width + left + right) // columns
    image = out.unflatten(2, window).unflatten(1, (down, across)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return image[:, top : top + height, left : left + width].flatten(1, 2)
