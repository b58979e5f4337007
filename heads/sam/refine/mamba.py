"""The refine module with Mamba fusion, LinBench's reading: see `tokens.py`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ....backbones.layers import init_linear_
from ....backbones.ss2d import SS2D
from ....backbones.vmamba import VssBlock
from .tokens import TokenRefine


class MambaRefine(TokenRefine):
    """Fuses by one block of VMamba (arXiv 2401.10166), which the paper compares with, in the sizes of VMamba-T[s1l8].

    The paper does not say which Mamba block it takes. This one scans the map in four directions, with one state and
    as many inner channels as outer ones; its MLP has ratio 4.

    Args:
        kernels: Backend of the scan.
        widths: As for `TokenRefine`.
    """

    def __init__(self, *, kernels: str = "auto", **widths: Any) -> None:
        super().__init__(**widths)
        dim = self.entry.out_features
        scan = SS2D(dim, states=1, ratio=1.0, gate=False, conv_bias=False, kernels=kernels)
        self.block = VssBlock(dim, op=scan, mlp_ratio=4.0, drop_path=0.0)
        self.block.apply(init_linear_)

    def mix(self, x: Tensor) -> Tensor:
        """`[N, H, W, C] -> [N, H, W, C]`."""
        mixed: Tensor = self.block(x)
        return mixed
