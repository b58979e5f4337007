"""What SAM's decoder and its refine modules share."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class MLP(nn.Module):
    """Linear layers with an activation between them, as SAM's hypernetworks and quality head use."""

    def __init__(
        self, *, in_dim: int, hidden_dim: int, out_dim: int, depth: int, activation: Activation = F.relu
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_dim] -> [..., out_dim]`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        out: Tensor = last(x)
        return out


def channel_product(weights: Tensor, feature: Tensor) -> Tensor:
    """Dot products over channels: `weights: [N, M, C]` with `feature: [N, C, H, W]` to `[N, M, H, W]`."""
    return (weights @ feature.flatten(2)).reshape(*weights.shape[:2], *feature.shape[2:])
