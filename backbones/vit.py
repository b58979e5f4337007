"""Plain ViT: patches, a position embedding, blocks of one width, one map at the stride of the patches.

Source: Touvron et al., "Training data-efficient image transformers" (arXiv 2012.12877); for EfficientSAM's encoders
Xiong et al., "EfficientSAM" (arXiv 2312.00863).
Parameter names are timm's, DeiT's and EfficientSAM's, so their checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .attention import Attention, AttentionKind
from .base import Backbone, FeatureInfo, Features
from .layers import MixerBlock, PatchEmbed, drop_path_rates, init_linear_, to_map, to_tokens
from .official import CLASSIFIER_HEADS
from .position import resize_position_embedding

ClassToken = Literal["first", "dropped", "none"]
LEFT_OUT = ("neck.", "head.", *CLASSIFIER_HEADS)


class PlainVit(Backbone):
    """A ViT around any token mixer.

    Args:
        mixer: Builds the token mixer of a layer from the layer's number; see `MixerBlock`.
        dim: Token width.
        depth: Blocks.
        patch: Patch size in pixels.
        position_grid: Side of the learned position-embedding grid; resized (bicubic) to the image's grid.
        class_token: `first`: in front of the others, and what is pooled; `dropped`: only its place in the position
            embedding is left, as in EfficientSAM; `none`: not that either. Without one, the map's mean is pooled.
        final_norm: Whether the map is normalised.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
    """

    def __init__(
        self,
        mixer: Callable[[int], nn.Module],
        *,
        dim: int,
        depth: int,
        patch: int,
        position_grid: int,
        class_token: ClassToken,
        final_norm: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token == "first" else None
        self.class_positions = 0 if class_token == "none" else 1
        self.pos_embed = nn.Parameter(torch.zeros(1, self.class_positions + position_grid**2, dim))
        self.blocks = nn.ModuleList(
            MixerBlock(dim, mixer(layer), drop_path=rate)
            for layer, rate in enumerate(drop_path_rates(drop_path, depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6) if final_norm else nn.Identity()
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(init_linear_)
        self.feature_info = (FeatureInfo(dim, patch),)
        self.pooled_channels = dim
        self.image_multiple = patch

    def no_weight_decay(self) -> set[str]:
        """Parameters that DeiT keeps from weight decay."""
        return {"pos_embed", "cls_token"}

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of the patch size; `pooled` is the class token or the map's mean."""
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[2], x.shape[3])
        x = to_tokens(x) + resize_position_embedding(self.pos_embed[:, self.class_positions :], grid)
        if self.cls_token is not None:
            cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
            x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = self.run_block(block, x, grid)
        x = self.norm(x)
        if self.cls_token is not None:
            return Features((to_map(x[:, 1:], grid),), x[:, 0])
        return Features((to_map(x, grid),), x.mean(dim=1))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Leave out a classifier's head and EfficientSAM's neck; the names that remain are ours.

        Raises:
            WeightsError: Weights of a distilled DeiT, which has one token more.
        """
        if "dist_token" in state:
            raise WeightsError(
                "these weights are of a distilled DeiT: its 'dist_token' and second head have no place in this ViT; "
                "take those of a DeiT without distillation, or 'timm:deit_small_distilled_patch16_224' and the like"
            )
        return {key: value for key, value in state.items() if not key.startswith(LEFT_OUT)}


class Vit(PlainVit):
    """ViT with global softmax attention: DeiT's, timm's and EfficientSAM's.

    Args:
        dim: Token width.
        heads: Attention heads.
        depth: Blocks.
        patch: Patch size in pixels.
        position_grid: As for `PlainVit`.
        class_token: As for `PlainVit`.
        final_norm: As for `PlainVit`.
        attention: `sdpa` uses PyTorch's fused attention; `eager` writes softmax(QK^T)V out, as EfficientSAM does.
        drop_path: As for `PlainVit`.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        depth: int = 12,
        patch: int = 16,
        position_grid: int = 14,
        class_token: ClassToken = "first",
        final_norm: bool = True,
        attention: AttentionKind = "sdpa",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            lambda _: Attention(dim, heads, attention=attention),
            dim=dim,
            depth=depth,
            patch=patch,
            position_grid=position_grid,
            class_token=class_token,
            final_norm=final_norm,
            drop_path=drop_path,
        )
