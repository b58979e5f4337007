"""Plain ViT with global softmax attention: the shape of DeiT and of EfficientSAM's encoders.

Source: Touvron et al., "Training data-efficient image transformers" (arXiv 2012.12877).
Parameter names are timm's and DeiT's, so their checkpoints load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Attention, AttentionKind
from .base import Backbone, FeatureInfo, Features
from .layers import MixerBlock, PatchEmbed, drop_path_rates, init_linear_, to_map, to_tokens
from .position import resize_position_embedding


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
            MixerBlock(dim, Attention(dim, heads, attention=attention), drop_path=rate)
            for rate in drop_path_rates(drop_path, depth)
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
        x = to_tokens(x) + resize_position_embedding(self.pos_embed[:, 1:], grid)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = self.run_block(block, x, grid)
        x = self.norm(x)
        return Features((to_map(x[:, 1:], grid),), x[:, 0])
