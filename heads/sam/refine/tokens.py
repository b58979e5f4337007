"""Refine modules that fuse by a block over all pixels in place of convolutions: LinBench's reading of the paper.

The paper (arXiv 2406.19369, section 4.3) says that an RWKV block replaces the convolution layers, and no more. Read
here as: the two layers that fuse. Those before them change resolution and width, which such a block cannot. The three
maps, concatenated, are brought to the width that the convolutions have between them, pass one block (whose two halves,
token mixing and MLP, stand for two layers), a norm and a linear layer; the residual stays.

On a frame of 1024 pixels every prompt has 65,536 tokens: in training autograd keeps about 400 MiB for it in
float32, seven times as much as for the conv variant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import channel_product
from ..transformer import per_prompt
from .base import StrideFourRefine
from .products import weighted_linear


class TokenRefine(StrideFourRefine, ABC):
    """Fuses the three maps at stride 4 by `mix`; as in the conv variant, what is linear is shared or folded.

    Args:
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        mask_dim: Channels of the mask feature.
        hidden_dim: Channels of the block.
    """

    def __init__(self, *, fine_channels: int, middle_channels: int, mask_dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__(
            fine_channels=fine_channels, middle_channels=middle_channels, mask_dim=mask_dim, hidden_dim=hidden_dim
        )
        self.entry = nn.Linear(3 * mask_dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.exit = nn.Linear(hidden_dim, mask_dim)

    @abstractmethod
    def mix(self, x: Tensor) -> Tensor:
        """The block: `[N, H/4, W/4, hidden_dim]` to the same shape."""

    def forward(
        self, mask_weights: Tensor, mask_feature: Tensor, *, maps: tuple[Tensor, ...], image_index: Tensor
    ) -> Tensor:
        """Mask logits `[N, M, H/4, W/4]`; arguments as for `ConvRefine.forward`."""
        own_weight, shared_weight = self.entry.weight[:, : self.mask_dim], self.entry.weight[:, self.mask_dim :]
        shared = F.linear(self.project(maps).permute(0, 2, 3, 1), shared_weight, self.entry.bias)
        own = F.linear(mask_feature.permute(0, 2, 3, 1), own_weight)
        joined = own + per_prompt(shared, image_index)
        # Scans refuse tensors without elements.
        mixed = self.norm(self.mix(joined)) if len(joined) else joined
        return weighted_linear(mask_weights, mixed, self.exit) + channel_product(mask_weights, mask_feature)
