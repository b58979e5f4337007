"""Plain ViT with global softmax attention: the shape of DeiT and of EfficientSAM's encoders.

Source: Touvron et al., "Training data-efficient image transformers" (arXiv 2012.12877).
Parameter names are timm's and DeiT's, so their checkpoints load as they are.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from .base import Backbone, FeatureInfo, Features
from .layers import init_linear_
from .position import resize_position_embedding

AttentionKind = Literal["sdpa", "eager"]


class PatchEmbed(nn.Module):
    """Non-overlapping patches by one strided convolution."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W] -> [B, C, H/p, W/p]`."""
        return self.proj(images)


class Attention(nn.Module):
    """Multi-head softmax attention, through PyTorch's fused kernel or written out."""

    def __init__(self, dim: int, heads: int, *, attention: AttentionKind) -> None:
        super().__init__()
        self.heads = heads
        self.attention: AttentionKind = attention
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.attention == "sdpa":
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)  # [B, heads, N, N]
            out = weights.softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, *, attention: AttentionKind, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, attention=attention)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Vit(Backbone):
    """ViT with a class token in front and one normalised map at stride 16.

    Args:
        dim: Token width.
        heads: Attention heads.
        depth: Blocks.
        patch: Patch size in pixels.
        position_grid: Side of the learned position-embedding grid; resized (bicubic) to the image's grid.
        attention: `sdpa` uses PyTorch's fused attention; `eager` writes softmax(QK^T)V out, as EfficientSAM does.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        depth: int = 12,
        patch: int = 16,
        position_grid: int = 14,
        attention: AttentionKind = "sdpa",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, position_grid**2 + 1, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, attention=attention, drop_path=drop_path * i / max(depth - 1, 1)) for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(init_linear_)
        self.feature_info = (FeatureInfo(dim, patch),)
        self.pooled_channels = dim
        self.image_multiple = patch

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of the patch size; `pooled` is the class token."""
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2) + resize_position_embedding(self.pos_embed[:, 1:], grid)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        image_map = x[:, 1:].unflatten(1, grid).permute(0, 3, 1, 2)
        return Features((image_map,), x[:, 0])
