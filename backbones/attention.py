"""Softmax attention over all tokens."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Grid

AttentionKind = Literal["sdpa", "eager"]


class Attention(nn.Module):
    """Multi-head softmax attention, through PyTorch's fused kernel or written out."""

    def __init__(self, dim: int, heads: int, *, attention: AttentionKind = "sdpa") -> None:
        super().__init__()
        self.heads = heads
        self.attention: AttentionKind = attention
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`; where the tokens stand on the grid does not matter."""
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.attention == "sdpa":
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)  # [B, heads, N, N]
            out = weights.softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).flatten(2))
