"""RWKV-SAM's refine module, conv variant: fine backbone maps sharpen SAM's mask feature (paper equation 7).

The official code repeats the backbone's maps for every prompt, convolves the concatenation and takes the dot product
with the mask weights last. Both ends are linear, so here the maps' share of the first convolution is computed once per
image, and the mask weights are folded into the last convolution: the same function for a fraction of the work.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import channel_product
from ..transformer import per_prompt
from .base import StrideFourRefine, two_layers
from .products import weighted_convolution


class ConvRefine(StrideFourRefine):
    """Fuses stride-4 and stride-8 maps into the mask feature at stride 4, with a residual.

    Args:
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        mask_dim: Channels of the mask feature.
        hidden_dim: Channels between the convolutions.
    """

    def __init__(self, *, fine_channels: int, middle_channels: int, mask_dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__(
            fine_channels=fine_channels, middle_channels=middle_channels, mask_dim=mask_dim, hidden_dim=hidden_dim
        )
        self.mix_feat_proj = two_layers(nn.Conv2d(3 * mask_dim, hidden_dim, kernel_size=3, padding=1), mask_dim)

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
        return weighted_convolution(mask_weights, hidden, last) + channel_product(mask_weights, mask_feature)
