"""Necks: backbone maps to the 256-channel image embedding at stride 16."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from .official import OfficialNames


def _projection(channels: int, embed_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, embed_dim, kernel_size=1, bias=False),
        LayerNorm2d(embed_dim),
        nn.Conv2d(embed_dim, embed_dim, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(embed_dim),
    )


class Neck(OfficialNames):
    """SAM's neck on the stride-16 map: 1x1 convolution, norm, 3x3 convolution, norm.

    Args:
        channels: Channels of the stride-16 map.
        embed_dim: Channels of the image embedding.
    """

    official_prefix = "neck."

    def __init__(self, *, channels: int, embed_dim: int = 256) -> None:
        super().__init__()
        self.out_proj = _projection(channels, embed_dim)

    def forward(self, stride16: Tensor) -> Tensor:
        """`[B, channels, h, w]` to `[B, embed_dim, h, w]`."""
        out: Tensor = self.out_proj(stride16)
        return out


class TwoScaleNeck(OfficialNames):
    """SAM's neck on the stride-16 map plus a second one on the stride-32 map, upsampled bilinearly.

    For pyramids that end at stride 32. What the RWKV-SAM paper did there is not published; the form is that of the
    two-layer neck in its repository.

    Args:
        channels: Channels of the stride-16 and of the stride-32 map.
        embed_dim: Channels of the image embedding.
    """

    official_prefix = "neck."

    def __init__(self, *, channels: tuple[int, int], embed_dim: int = 256) -> None:
        super().__init__()
        self.out_proj1 = _projection(channels[0], embed_dim)
        self.out_proj2 = _projection(channels[1], embed_dim)

    def forward(self, stride16: Tensor, stride32: Tensor) -> Tensor:
        """Both maps to `[B, embed_dim, h, w]` at the size of the first."""
        out: Tensor = self.out_proj1(stride16)
        coarse = F.interpolate(self.out_proj2(stride32), size=out.shape[-2:], mode="bilinear", align_corners=False)
        return out + coarse
