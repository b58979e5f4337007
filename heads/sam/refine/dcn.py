"""The refine module with DCN fusion: from coarse to fine, each step aligned by a deformable convolution.

The paper (arXiv 2406.19369, section 4.3) says that low-resolution features are fused gradually into high-resolution
ones, with DCN, following FaPN (Huang et al., ICCV 2021, arXiv 2108.07058), and no more. The rest is LinBench's reading:

    stride 16: SAM's mask feature, which comes from the stride-16 embedding;
    stride 8:  the mask feature, pooled to stride 8, aligned to the stride-8 map, plus that map;
    stride 4:  the sum, upsampled, aligned to the stride-4 map, plus that map; plus the mask feature, the residual.

The maps come to the mask feature's width by two convolution layers each, as in the conv variant; FaPN's selection of
channels is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from ..layers import channel_product
from ..transformer import per_prompt
from .base import two_layers

TAPS = 9
# FaPN has eight groups of offsets for 128 channels.
CHANNELS_OF_A_GROUP = 16


class DcnRefine(nn.Module):
    """Fuses the mask feature with the stride-8 map and then the stride-4 map, with a residual.

    Args:
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        mask_dim: Channels of the mask feature, a multiple of 16.
        hidden_dim: Channels between the convolutions of the maps.
    """

    def __init__(self, *, fine_channels: int, middle_channels: int, mask_dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__()
        self.hr_feat_proj = two_layers(nn.Conv2d(fine_channels, hidden_dim, kernel_size=3, padding=1), mask_dim)
        self.mr_feat_proj = two_layers(nn.Conv2d(middle_channels, hidden_dim, kernel_size=1), mask_dim)
        self.align_middle = AlignedSum(mask_dim)
        self.align_fine = AlignedSum(mask_dim)

    def forward(
        self, mask_weights: Tensor, mask_feature: Tensor, *, maps: tuple[Tensor, ...], image_index: Tensor
    ) -> Tensor:
        """Mask logits `[N, M, H/4, W/4]`; arguments as for `ConvRefine.forward`."""
        fine, middle = self.hr_feat_proj(maps[0]), self.mr_feat_proj(maps[1])
        coarse = self.align_middle(F.avg_pool2d(mask_feature, 2), middle, image_index)
        upsampled = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        refined = self.align_fine(upsampled, fine, image_index) + mask_feature
        return channel_product(mask_weights, refined)


class AlignedSum(nn.Module):
    """FaPN's alignment: a modulated deformable 3x3 convolution moves coarse features to where the fine ones are.

    Both maps, compared, give the offsets and weights of the taps. At the start offsets are 0 and weights 1.

    Args:
        dim: Channels of both maps, a multiple of 16.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.groups = dim // CHANNELS_OF_A_GROUP
        # A 1x1 convolution of the concatenation, in halves: that of the fine map is the same for all prompts.
        self.compare_coarse = nn.Conv2d(dim, dim, kernel_size=1, bias=False)
        self.compare_fine = nn.Conv2d(dim, dim, kernel_size=1, bias=False)
        self.offset = nn.Conv2d(dim, 3 * TAPS * self.groups, kernel_size=3, padding=1)
        self.convolution = nn.Conv2d(dim, dim, kernel_size=3, padding=1)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, coarse: Tensor, fine: Tensor, image_index: Tensor) -> Tensor:
        """Align and add.

        Args:
            coarse: `[N, C, H, W]`, brought to the fine map's size.
            fine: `[B, C, H, W]`.
            image_index: `[N]`, the image of each prompt.

        Returns:
            `[N, C, H, W]`.
        """
        compared = self.compare_coarse(coarse) + per_prompt(self.compare_fine(fine), image_index)
        offset, modulation = self.offset(compared).split((2 * TAPS * self.groups, TAPS * self.groups), dim=1)
        aligned = self.deform(coarse, offset, 2 * torch.sigmoid(modulation))
        return F.relu(aligned) + per_prompt(fine, image_index)

    def deform(self, x: Tensor, offset: Tensor, modulation: Tensor) -> Tensor:
        """`convolution` with its taps moved by `offset` and weighted by `modulation`.

        Computed in float32 at least: torchvision has no bfloat16.
        """
        dtype = torch.promote_types(x.dtype, torch.float32)
        weight, bias = (parameter.to(dtype) for parameter in self.convolution.parameters())
        moved = deform_conv2d(x.to(dtype), offset.to(dtype), weight, bias, padding=1, mask=modulation.to(dtype))
        return moved.to(x.dtype)
