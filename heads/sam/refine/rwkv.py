"""The refine module with RWKV fusion, LinBench's reading: see `tokens.py`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ....backbones.layers import init_linear_
from ....backbones.rwkv_blocks import RwkvBlock
from .tokens import TokenRefine


class RwkvRefine(TokenRefine):
    """Fuses by one RWKV block as RWKV-SAM's backbone has them (q-shift, bidirectional WKV; channel mix of ratio 2).

    Args:
        kernels: Backend of the operators.
        widths: As for `TokenRefine`.
    """

    def __init__(self, *, kernels: str = "auto", **widths: Any) -> None:
        super().__init__(**widths)
        self.block = RwkvBlock(
            self.entry.out_features,
            layer=0,
            depth=1,
            mlp_ratio=2.0,
            drop_path=0.0,
            layer_scale=1e-2,
            convention="paper",
            kernels=kernels,
        )
        self.block.apply(init_linear_)

    def mix(self, x: Tensor) -> Tensor:
        """`[N, H, W, C] -> [N, H, W, C]`."""
        grid = (x.shape[1], x.shape[2])
        mixed: Tensor = self.block(x.flatten(1, 2), grid)
        return mixed.unflatten(1, grid)
