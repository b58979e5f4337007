"""The heads: pyramid pooling and a feature pyramid (UperNet), and the auxiliary convolution head of its training.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding" (arXiv 1807.10221), in the form that
mmsegmentation gave it and ADE20K tables are made with. Parameter names are mmsegmentation's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones.base import FeatureInfo
from .norm import SyncedBatchNorm2d

POOLS = (1, 2, 3, 6)


class ConvModule(nn.Module):
    """Convolution without bias, batch norm, ReLU; the size stays."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = SyncedBatchNorm2d(out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H, W]`."""
        return F.relu(self.bn(self.conv(x)))


class UperHead(nn.Module):
    """Pools the coarsest map at four scales, carries it down the pyramid, and classifies all levels together.

    Args:
        feature_info: Channels and stride of the maps, fine to coarse.
        num_classes: Outputs.
        channels: Width inside.
        dropout: Rate of dropped channels before the classifier.
    """

    def __init__(
        self, feature_info: Sequence[FeatureInfo], *, num_classes: int, channels: int = 512, dropout: float = 0.1
    ) -> None:
        super().__init__()
        *finer, coarsest = (info.channels for info in feature_info)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), ConvModule(coarsest, channels, 1)) for size in POOLS
        )
        self.bottleneck = ConvModule(coarsest + len(POOLS) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(ConvModule(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = ConvModule((len(finer) + 1) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, fine to coarse -> logits `[B, K, h, w]` of the finest map's size."""
        top = maps[-1]
        pooled = [_resized(module(top), top) for module in self.psp_modules]
        levels = [lateral(x) for lateral, x in zip(self.lateral_convs, maps[:-1], strict=True)]
        levels.append(self.bottleneck(torch.cat([top, *pooled], dim=1)))
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + _resized(levels[index], levels[index - 1])
        fused = [conv(x) for conv, x in zip(self.fpn_convs, levels[:-1], strict=True)] + levels[-1:]
        fused = [_resized(x, fused[0]) for x in fused]
        return self.conv_seg(self.dropout(self.fpn_bottleneck(torch.cat(fused, dim=1))))


class FcnHead(nn.Module):
    """One 3x3 convolution and a classifier on one map; trains the backbone's middle, and is not used afterwards.

    Args:
        in_channels: Channels of the map.
        num_classes: Outputs.
        channels: Width inside.
        dropout: Rate of dropped channels before the classifier.
    """

    def __init__(self, in_channels: int, *, num_classes: int, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvModule(in_channels, channels, 3))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = _classifier(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> logits `[B, K, h, w]`."""
        return self.conv_seg(self.dropout(self.convs(x)))


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _resized(x: Tensor, like: Tensor) -> Tensor:
    size = like.shape[-2:]
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False)
