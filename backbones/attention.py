"""Multi-head attention: the projections, and softmax over all tokens between them."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .layers import Grid

AttentionKind = Literal["sdpa", "eager"]


class MultiHead(nn.Module):
    """Projections to queries, keys and values and back; what is between them is a subclass's `attend`.

    Args:
        dim: Token width.
        heads: Heads, each with `dim / heads` channels of the values.
        qk_width: Channels of a head's queries and keys; those of its values unless given.
    """

    def __init__(self, dim: int, heads: int, *, qk_width: int | None = None) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise UsageError(f"heads: expected a divisor of dim = {dim}, got {heads}")
        self.heads = heads
        qk_dim = dim if qk_width is None else heads * qk_width
        self.widths = (qk_dim, qk_dim, dim)
        self.qkv = nn.Linear(dim, sum(self.widths))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        parts = self.qkv(x).split(self.widths, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.proj(self.attend(q, k, v, grid).transpose(1, 2).flatten(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """`q, k: [B, heads, N, E], v: [B, heads, N, F] -> [B, heads, N, F]`; the tokens stand row by row on `grid`."""
        raise NotImplementedError


class Attention(MultiHead):
    """Multi-head softmax attention, through PyTorch's fused kernel or written out."""

    def __init__(self, dim: int, heads: int, *, attention: AttentionKind = "sdpa") -> None:
        super().__init__(dim, heads)
        self.attention: AttentionKind = attention

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Softmax over all tokens; where they stand on the grid does not matter."""
        if self.attention == "sdpa":
            return F.scaled_dot_product_attention(q, k, v)
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [B, heads, N, N]
        return weights.softmax(dim=-1) @ v
