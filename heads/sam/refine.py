"""RWKV-SAM's refine module, conv variant: fine backbone maps sharpen SAM's mask feature (paper equation 7).

The official code repeats the backbone's maps for every prompt, convolves the concatenation and takes the dot product
with the mask weights last. Both ends are linear, so here the maps' share of the first convolution is computed once per
image, and the mask weights are folded into the last convolution: the same function for a fraction of the work.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from .layers import channel_product
from .transformer import per_prompt


class ConvRefine(nn.Module):
    """Fuses stride-4 and stride-8 maps into the mask feature at stride 4, with a residual.

    Args:
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        mask_dim: Channels of the mask feature.
        hidden_dim: Channels between the convolutions.
    """

    def __init__(self, *, fine_channels: int, middle_channels: int, mask_dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__()
        self.mask_dim = mask_dim
        self.hr_feat_proj = nn.Sequential(
            nn.Conv2d(fine_channels, hidden_dim, kernel_size=3, padding=1),
            LayerNorm2d(hidden_dim),
            nn.GELU(),
            nn.Conv2d(hidden_dim, mask_dim, kernel_size=3, padding=1),
        )
        self.mr_feat_proj = nn.Sequential(
            nn.ConvTranspose2d(middle_channels, hidden_dim, kernel_size=2, stride=2),
            LayerNorm2d(hidden_dim),
            nn.GELU(),
            nn.Conv2d(hidden_dim, mask_dim, kernel_size=3, padding=1),
        )
        self.mix_feat_proj = nn.Sequential(
            nn.Conv2d(3 * mask_dim, hidden_dim, kernel_size=3, padding=1),
            LayerNorm2d(hidden_dim),
            nn.GELU(),
            nn.Conv2d(hidden_dim, mask_dim, kernel_size=3, padding=1),
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

    def forward(
        self, mask_weights: Tensor, mask_feature: Tensor, *, maps: tuple[Tensor, ...], image_index: Tensor
    ) -> Tensor:
        """Refine the mask feature and take its dot product with the mask weights.

        Args:
            mask_weights: `[N, M, D]` from the hypernetworks.
            mask_feature: `[N, D, H/4, W/4]`, SAM's upscaled feature.
            maps: As for `project`.
            image_index: `[N]`, the image of each prompt.

        Returns:
            Mask logits `[N, M, H/4, W/4]`.
        """
        first, norm, activation, last = self.mix_feat_proj
        first, last = cast(nn.Conv2d, first), cast(nn.Conv2d, last)
        own_weight, shared_weight = first.weight[:, : self.mask_dim], first.weight[:, self.mask_dim :]
        shared = F.conv2d(self.project(maps), shared_weight, first.bias, padding=1)
        own = F.conv2d(mask_feature, own_weight, padding=1)
        hidden = activation(norm(own + per_prompt(shared, image_index)))
        folded = torch.einsum("nmd,dcij->nmcij", mask_weights, last.weight)
        offset = (mask_weights @ cast(Tensor, last.bias))[..., None, None]
        return convolve_each(hidden, folded) + channel_product(mask_weights, mask_feature) + offset


def convolve_each(x: Tensor, weight: Tensor) -> Tensor:
    """3x3 convolution, padding 1, with a kernel of its own for each sample and few outputs.

    Args:
        x: `[N, C, H, W]`.
        weight: `[N, M, C, 3, 3]`.

    Returns:
        `[N, M, H, W]`.
    """
    height, width = x.shape[-2:]
    taps = weight.permute(0, 3, 4, 1, 2)  # [N, 3, 3, M, C]
    partial = F.pad(channel_product(taps.flatten(1, 3), x), (1, 1, 1, 1))  # [N, 9M, H + 2, W + 2]
    by_tap = partial.reshape(len(x), 9, weight.shape[1], height + 2, width + 2).unbind(1)
    shifted = [tap[..., k // 3 : k // 3 + height, k % 3 : k % 3 + width] for k, tap in enumerate(by_tap)]
    return torch.stack(shifted).sum(dim=0)
