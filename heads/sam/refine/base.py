"""What the refine modules share that bring the backbone's fine maps to stride 4 first, and fuse there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ....backbones.layers import LayerNorm2d


def two_layers(first: nn.Conv2d | nn.ConvTranspose2d, out_channels: int) -> nn.Sequential:
    """The given layer, LayerNorm, GELU and a 3x3 convolution."""
    hidden = first.out_channels
    last = nn.Conv2d(hidden, out_channels, kernel_size=3, padding=1)
    return nn.Sequential(first, LayerNorm2d(hidden), nn.GELU(), last)


class StrideFourRefine(nn.Module):
    """Two convolution layers a map, to stride 4 and the mask feature's width (RWKV-SAM's official names).

    Args:
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        mask_dim: Channels of the mask feature.
        hidden_dim: Channels between the two layers.
    """

    def __init__(self, *, fine_channels: int, middle_channels: int, mask_dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__()
        self.mask_dim = mask_dim
        self.hr_feat_proj = two_layers(nn.Conv2d(fine_channels, hidden_dim, kernel_size=3, padding=1), mask_dim)
        self.mr_feat_proj = two_layers(
            nn.ConvTranspose2d(middle_channels, hidden_dim, kernel_size=2, stride=2), mask_dim
        )

    def project(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Bring both maps to stride 4 and the mask feature's width.

        Args:
            maps: Stride-4 `[B, fine_channels, H/4, W/4]` and stride-8 `[B, middle_channels, H/8, W/8]`.

        Returns:
            `[B, 2 * mask_dim, H/4, W/4]`, the stride-8 map's half first.
        """
        fine, middle = maps
        return torch.cat([self.mr_feat_proj(middle), self.hr_feat_proj(fine)], dim=1)
