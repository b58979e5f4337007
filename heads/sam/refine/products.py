"""A last linear layer and the dot product with the mask weights behind it, as one product with few outputs."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import channel_product


def weighted_linear(weights: Tensor, x: Tensor, linear: nn.Linear) -> Tensor:
    """Dot products `[N, M, H, W]` of `weights: [N, M, D]` with a linear layer (D outputs) of `x: [N, H, W, C]`."""
    folded = weights @ linear.weight  # [N, M, C]
    products = folded @ x.flatten(1, 2).mT + (weights @ linear.bias)[..., None]
    return products.unflatten(-1, x.shape[1:3])


def weighted_convolution(weights: Tensor, x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Dot products `[N, M, H, W]` of `weights: [N, M, D]` with a 3x3 convolution (D outputs) of `x: [N, C, H, W]`.

    The weights are folded into the convolution, which so has M outputs in place of D.
    """
    folded = torch.einsum("nmd,dcij->nmcij", weights, convolution.weight)
    offset = (weights @ cast(Tensor, convolution.bias))[..., None, None]
    return convolve_each(x, folded) + offset


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
