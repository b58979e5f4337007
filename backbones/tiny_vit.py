"""TinyViT as MobileSAM uses it: convolutions with BatchNorm, then attention in windows; one map at stride 16.

Source: Wu et al., "TinyViT" (arXiv 2207.10666); Zhang et al., "Faster Segment Anything" (arXiv 2306.14289), whose
last downsampling keeps stride 16. Parameter names are the official ones; the classifier's `norm_head` and `head`,
which lie in the checkpoints unused, are left out, and SAM's neck belongs to the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, FeatureInfo, Features
from .layers import Mlp, drop_path_rates, init_linear_, make_drop_path, to_map, to_tokens
from .windows import from_windows, to_windows

LEFT_OUT = ("norm_head.", "head.", "neck.")


class ConvBn(nn.Sequential):
    """Convolution without bias and BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, stride: int = 1, depthwise: bool = False
    ) -> None:
        super().__init__()
        groups = out_channels if depthwise else 1
        self.c = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)


class PatchEmbed(nn.Module):
    """Two convolutions of stride 2 with GELU between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBn(3, dim // 2, 3, stride=2), nn.GELU(), ConvBn(dim // 2, dim, 3, stride=2))

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W] -> [B, C, H/4, W/4]`."""
        return self.seq(images)


class InvertedBottleneck(nn.Module):
    """1x1, GELU, depthwise 3x3, GELU, 1x1, residual, GELU; each convolution with BatchNorm."""

    def __init__(self, dim: int, *, expand: int = 4, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = ConvBn(dim, expand * dim)
        self.conv2 = ConvBn(expand * dim, expand * dim, 3, depthwise=True)
        self.conv3 = ConvBn(expand * dim, dim)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        branch = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return F.gelu(x + self.drop_path(branch))


class Merge(nn.Module):
    """Downsampling between stages: 1x1, GELU, depthwise 3x3 with the stride, GELU, 1x1."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(in_channels, out_channels)
        self.conv2 = ConvBn(out_channels, out_channels, 3, stride=stride, depthwise=True)
        self.conv3 = ConvBn(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H/stride, W/stride]`."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Softmax attention in windows with a learned bias per head and absolute offset `(|dy|, |dx|)`.

    Windows that reach over the map are filled up with zero tokens before the norm; attention does not mask them.

    Args:
        dim: Token width.
        heads: Attention heads.
        window: Side of the windows in tokens.
    """

    offsets: Tensor

    def __init__(self, dim: int, heads: int, *, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))
        places = torch.arange(window)
        apart = (places[:, None] - places[None, :]).abs()
        offsets = (window * apart[:, None, :, None] + apart[None, :, None, :]).reshape(window**2, window**2)
        self.register_buffer("offsets", offsets, persistent=False)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the original keeps from weight decay."""
        return {"attention_biases"}

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        grid = (x.shape[2], x.shape[3])
        tokens = self.norm(to_windows(to_tokens(x), grid, self.window))
        q, k, v = self.qkv(tokens).unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind(0)
        bias = self.attention_biases[:, self.offsets].to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0))
        return to_map(self.proj(from_windows(out.transpose(1, 2).flatten(2), grid, self.window)), grid)


class NormMlp(Mlp):
    """MLP with its LayerNorm in front."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(dim, hidden)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """`x: [..., C] -> [..., C]`."""
        return super().forward(self.norm(x))


class TinyVitBlock(nn.Module):
    """Window attention with a residual, a depthwise 3x3 convolution without one, an MLP with one."""

    def __init__(self, dim: int, heads: int, *, window: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, heads, window=window)
        self.local_conv = ConvBn(dim, dim, 3, depthwise=True)
        self.mlp = NormMlp(dim, 4 * dim)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        x = self.local_conv(x + self.drop_path(self.attn(x)))
        tokens = to_tokens(x)
        tokens = tokens + self.drop_path(self.mlp(tokens))
        return to_map(tokens, (x.shape[2], x.shape[3]))


class Stage(nn.Module):
    """Blocks at one resolution and the way to the next; their names are what checkpoints call them."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class TinyVit(Backbone):
    """TinyViT with one map at stride 16, as MobileSAM and Light HQ-SAM use it.

    Args:
        dims: Channels of the four stages.
        depths: Blocks of the four stages.
        heads: Attention heads of the stages; the first has none.
        windows: Sides of the attention windows in tokens, likewise.
        early: Also return the map that enters the third stage (stride 16), before the other, as Light HQ-SAM reads it.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (2, 4, 5, 10),
        windows: Sequence[int] = (7, 7, 14, 7),
        early: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        self.patch_embed = PatchEmbed(dims[0])
        stages: list[nn.Module] = []
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            blocks: list[nn.Module] = [
                TinyVitBlock(dim, heads[i], window=windows[i], drop_path=next(rates))
                if i
                else InvertedBottleneck(dim, drop_path=next(rates))
                for _ in range(depth)
            ]
            merge = Merge(dim, dims[i + 1], stride=1 if i == 2 else 2) if i < 3 else None
            stages.append(Stage(blocks, merge))
        self.layers = nn.ModuleList(stages)
        self.early = early
        self.feature_info = (*([FeatureInfo(dims[2], 16)] if early else []), FeatureInfo(dims[3], 16))
        self.pooled_channels = dims[3]
        self.image_multiple = 16
        self.apply(init_linear_)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of 16; `pooled` is the mean of the last map."""
        self.check_images(images)
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        maps: list[Tensor] = []
        for index, stage in enumerate(cast("list[Stage]", [*self.layers])):
            if index == 2 and self.early:
                maps.append(x)
            for block in stage.blocks:
                x = self.run_block(block, x)
            if stage.downsample is not None:
                x = stage.downsample(x)
        maps.append(x)
        return Features(tuple(maps), x.mean(dim=(2, 3)))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Leave the classifier, which is not used, and SAM's neck out."""
        return {key: value for key, value in state.items() if not key.startswith(LEFT_OUT)}
