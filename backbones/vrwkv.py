"""Vision-RWKV: a plain stack of RWKV blocks with the bidirectional WKV, one map at stride 16.

Source: Duan et al., "Vision-RWKV" (arXiv 2403.02308); OpenGVLab/Vision-RWKV. Parameter names are the official ones but
for the patch embedding, which is the shared one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import Backbone, FeatureInfo, Features
from .layers import Grid, PatchEmbed, drop_path_rates, init_linear_, make_drop_path, to_map, to_tokens
from .official import CLASSIFIER_HEADS
from .position import resize_position_embedding
from .rwkv_blocks import ChannelMix, Convention, SpatialMix

LEFT_OUT = ("head.", *CLASSIFIER_HEADS)


class VrwkvBlock(nn.Module):
    """Spatial mix and channel mix with the norm before or after each; the first block normalises its input besides."""

    def __init__(
        self,
        dim: int,
        *,
        layer: int,
        depth: int,
        mlp_ratio: float,
        drop_path: float,
        layer_scale: float | None,
        post_norm: bool,
        key_norm: bool,
        convention: Convention,
        kernels: str,
    ) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.ln0 = nn.LayerNorm(dim) if layer == 0 else nn.Identity()
        self.ln1 = nn.LayerNorm(dim)
        self.ln2 = nn.LayerNorm(dim)
        self.att = SpatialMix(dim, layer=layer, depth=depth, key_norm=key_norm, convention=convention, kernels=kernels)
        self.ffn = ChannelMix(
            dim, hidden=int(dim * mlp_ratio), layer=layer, depth=depth, key_norm=key_norm, kernels=kernels
        )
        self.gamma1 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
        self.gamma2 = None if layer_scale is None else nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        x = self.ln0(x)
        x = x + self.drop_path(self._branch(x, grid, self.att, self.ln1, self.gamma1))
        return x + self.drop_path(self._branch(x, grid, self.ffn, self.ln2, self.gamma2))

    def _branch(self, x: Tensor, grid: Grid, mix: nn.Module, norm: nn.Module, scale: Tensor | None) -> Tensor:
        y = norm(mix(x, grid)) if self.post_norm else mix(norm(x), grid)
        return y if scale is None else scale * y


class Vrwkv(Backbone):
    """Vision-RWKV; its map is normalised, and `pooled` is the map's mean.

    Args:
        dim: Token width.
        depth: Blocks.
        post_norm: Normalise what a mix returns instead of what it gets.
        key_norm: Normalise the outputs of the WKV and the squared activations of the channel mix.
        layer_scale: Initial value of the residual scales, or None for none.
        mlp_ratio: Hidden width of the channel mix over its width.
        patch: Patch size in pixels.
        position_grid: Side of the learned position-embedding grid; resized (bicubic) to the image's grid.
        head_hidden: Width of the Tanh layer in a classifier's head on this backbone; 0 for a linear head.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
        convention: How WKV weighs distance: `paper` is the papers' equation, `cuda` what the original CUDA kernel
            computes, with which the official weights were trained.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int = 12,
        post_norm: bool = False,
        key_norm: bool = False,
        layer_scale: float | None = None,
        mlp_ratio: float = 4.0,
        patch: int = 16,
        position_grid: int = 14,
        head_hidden: int = 0,
        drop_path: float = 0.0,
        convention: Convention = "paper",
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, position_grid**2, dim))
        self.layers = nn.ModuleList(
            VrwkvBlock(
                dim,
                layer=layer,
                depth=depth,
                mlp_ratio=mlp_ratio,
                drop_path=rate,
                layer_scale=layer_scale,
                post_norm=post_norm,
                key_norm=key_norm,
                convention=convention,
                kernels=kernels,
            )
            for layer, rate in enumerate(drop_path_rates(drop_path, depth))
        )
        self.ln1 = nn.LayerNorm(dim)
        self.apply(init_linear_)
        self.feature_info = (FeatureInfo(dim, patch),)
        self.pooled_channels = dim
        self.image_multiple = patch
        self.head_hidden = head_hidden

    def no_weight_decay(self) -> set[str]:
        """Parameters kept from weight decay beside vectors; the mixes of tokens decay, as in the original recipes."""
        return {"pos_embed"}

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of the patch size."""
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[2], x.shape[3])
        x = to_tokens(x) + resize_position_embedding(self.pos_embed, grid)
        for layer in self.layers:
            x = self.run_block(layer, x, grid)
        x = self.ln1(x)
        return Features((to_map(x, grid),), x.mean(dim=1))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring the official names to ours, and leave a classifier's head out."""
        return {
            key.replace("patch_embed.projection.", "patch_embed.proj."): value
            for key, value in state.items()
            if not key.startswith(LEFT_OUT)
        }
