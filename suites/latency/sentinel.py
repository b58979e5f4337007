"""A fixed piece of work, the same in every sweep: if its time changes, it was the machine that changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PRODUCTS = 4


class Sentinel(nn.Module):
    """Products of a square matrix with itself, whatever the images are."""

    matrix: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(side))

    def forward(self, images: Tensor) -> Tensor:
        x = self.matrix
        for _ in range(_PRODUCTS):
            x = self.matrix @ x
        return x


def build(name: str) -> nn.Module:
    """The sentinel called `sentinel:<side of the matrix>`."""
    return Sentinel(int(name.partition(":")[2]))
