"""RWKV-SAM's backbone: two stages of MBConv, one of RWKV blocks with the bidirectional WKV.

Source: Yuan et al., "Mamba or RWKV: Exploring High-Quality and High-Efficiency Segment Anything Model"
(arXiv 2406.19369), section 3.2. Parameter names are the official ones, so official state dicts load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Backbone, FeatureInfo, Features
from .layers import LayerNorm2d, MBConv, drop_path_rates, gelu, init_conv_, init_linear_, to_map, to_tokens
from .position import resize_position_embedding
from .rwkv_blocks import Convention, RwkvBlock
from .strips import in_row_strips


class MapBlocks(nn.ModuleList):
    """RWKV blocks that work on a feature map; where there are none, the map stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        if not len(self):
            return x
        grid = (x.shape[2], x.shape[3])
        tokens = to_tokens(x)
        for block in self:
            tokens = block(tokens, grid)
        return to_map(tokens, grid)


class Stem(nn.Module):
    """Two 3x3 convolutions with LayerNorm and GELU between; stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm1 = LayerNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W] -> [B, C, H/2, W/2]`."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.conv2(gelu(self.norm1(self.conv1(images))))


class Downsample(nn.Module):
    """LayerNorm and a 3x3 convolution of stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(in_channels)
        self.proj = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H/2, W/2]`."""
        return self.proj(self.norm(x))


class RwkvSam(Backbone):
    """RWKV-SAM backbone; maps at strides 4, 8 and 16 (the last one normalised).

    Args:
        dims: Channels at strides 4, 8 and 16.
        depth: RWKV blocks in all; those that `early_blocks` puts into the convolution stages are taken from stage 3.
        early_blocks: RWKV blocks appended to stages 1 and 2 (the paper's ablation "(1-1)" is `(1, 1)`).
            Their place after the MBConv blocks and the running layer number are our choice; the paper gives neither.
        mlp_ratio: Hidden width of the channel mix over its width.
        drop_path: Stochastic depth of the last RWKV block, growing linearly from 0.
        layer_scale: Initial value of the residual scales.
        final_stage: Add the MBConv block of stride 2 that the ADE20K models have; a fourth map at stride 32.
        position_grid: Side of a learned position-embedding grid, or None for none (as the published models).
        middle: Also return the un-normalised map after the eighth block of stage 3, as the original does.
        convention: How WKV weighs distance: `paper` is Equation 4, `cuda` what the original CUDA kernel computes.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dims: tuple[int, int, int],
        depth: int = 14,
        early_blocks: tuple[int, int] = (0, 0),
        mlp_ratio: float = 2.0,
        drop_path: float = 0.0,
        layer_scale: float = 1e-2,
        final_stage: bool = False,
        position_grid: int | None = None,
        middle: bool = False,
        convention: Convention = "paper",
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        stem, mid, dim = dims
        rates = drop_path_rates(drop_path, depth)

        def block(layer: int, width: int) -> RwkvBlock:
            return RwkvBlock(
                width,
                layer=layer,
                depth=depth,
                mlp_ratio=mlp_ratio,
                drop_path=rates[layer],
                layer_scale=layer_scale,
                convention=convention,
                kernels=kernels,
            )

        self.stem = Stem(stem)
        self.conv_stages = nn.ModuleList(
            nn.Sequential(*(MBConv(c_in if i == 0 else c_out, c_out, stride=2 if i == 0 else 1) for i in range(blocks)))
            for c_in, c_out, blocks in ((stem, stem, 2), (stem, mid, 4))
        )
        first, second = early_blocks
        self.early_layers = nn.ModuleList(
            [
                MapBlocks(block(i, stem) for i in range(first)),
                MapBlocks(block(first + i, mid) for i in range(second)),
            ]
        )
        self.conv_final_pool = Downsample(mid, dim)
        self.layers = nn.ModuleList(block(i, dim) for i in range(first + second, depth))
        self.final_norm = nn.LayerNorm(dim, eps=1e-6)
        self.pos_embed = nn.Parameter(torch.zeros(1, position_grid**2, dim)) if position_grid else None
        if self.pos_embed is not None:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.final_layer = MBConv(dim, 2 * dim, stride=2) if final_stage else None
        self.middle_index = 7 if middle else None

        info = [FeatureInfo(stem, 4), FeatureInfo(mid, 8)]
        info += [FeatureInfo(dim, 16)] * (2 if middle else 1)
        info += [FeatureInfo(2 * dim, 32)] if final_stage else []
        self.feature_info = tuple(info)
        self.pooled_channels = info[-1].channels
        self.image_multiple = info[-1].stride

        self.apply(init_conv_)
        self.apply(init_linear_)
        self.to(memory_format=torch.channels_last)

    def no_weight_decay(self) -> set[str]:
        """Parameters kept from weight decay beside vectors; the mixes of tokens decay, as in the original recipes."""
        return {"pos_embed"}

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of 16 (32 with the final stage)."""
        self.check_images(images)
        maps = [self.early_layers[0](self._first_stage(images))]
        maps.append(self.early_layers[1](self.conv_stages[1](maps[0])))
        grid = (images.shape[2] // 16, images.shape[3] // 16)
        tokens = to_tokens(self.conv_final_pool(maps[1]))
        if self.pos_embed is not None:
            tokens = tokens + resize_position_embedding(self.pos_embed, grid)
        for index, layer in enumerate(self.layers):
            tokens = self.run_block(layer, tokens, grid)
            if index == self.middle_index:
                maps.append(to_map(tokens, grid))
        maps.append(to_map(self.final_norm(tokens), grid))
        if self.final_layer is not None:
            maps.append(self.final_layer(maps[-1]))
        return Features(tuple(maps), maps[-1].mean(dim=(2, 3)))

    def _first_stage(self, images: Tensor) -> Tensor:
        """The map at stride 4, without any early RWKV blocks; the stem's, at stride 2, would take the most memory."""
        return in_row_strips(
            lambda part: self.conv_stages[0](self.stem(part)),
            images,
            stride=4,
            spoiled=(3, 2),
            row_bytes=2 * self.feature_info[0].channels * (images.shape[3] // 2) * images.element_size(),
        )
