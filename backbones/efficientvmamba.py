"""EfficientVMamba: atrous selective scans at strides 4 and 8, inverted residuals at 16 and 32.

Source: Pei et al., "EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba" (arXiv 2403.09977);
TerryPei/EfficientVMamba. Parameter names are the official ones, except that the blocks of the last two stages stand
under `blocks` and `downsample` as those of the first two do.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import drop_path_rates, init_linear_, make_drop_path
from .ss2d import AtrousSS2D
from .vssm import PatchMerging, Stage, Vssm, patch_stem

SCANNED_STAGES = 2
FLAT_STAGE = re.compile(r"^layers\.(\d+)\.(\d+)\.")


class ChannelGate(nn.Module):
    """Squeeze-and-excitation whose squeezed values are means of the normalised map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.global_reduce = nn.Linear(dim, dim // 8)
        self.channel_select = nn.Linear(dim // 8, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, H, W, C]`."""
        squeezed = self.norm(x).mean(dim=(1, 2), keepdim=True)
        return x * torch.sigmoid(self.channel_select(F.gelu(self.global_reduce(squeezed))))


class EvssBlock(nn.Module):
    """An atrous scan beside a depthwise convolution; both branches go through the same channel gate."""

    def __init__(self, dim: int, *, drop_path: float, kernels: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.op = AtrousSS2D(dim, states=16, gate=True, conv_bias=True, kernels=kernels)
        self.conv_branch = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim), nn.BatchNorm2d(dim), nn.GELU(), nn.Conv2d(dim, dim, 1)
        )
        self.se = ChannelGate(dim)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, H, W, C]`."""
        inner = self.norm(x)
        local = self.conv_branch(inner.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.drop_path(self.se(self.op(inner)) + self.se(local))


class SqueezeExcite(nn.Module):
    """Weighs the channels of a map by their means over it."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H, W]`."""
        squeezed = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.conv_expand(F.relu(self.conv_reduce(squeezed))))


class InvertedResidual(nn.Module):
    """MobileNet-V2's block with squeeze-and-excitation: 1x1 to four times the width, depthwise 3x3, 1x1, residual."""

    def __init__(self, dim: int, *, drop_path: float) -> None:
        super().__init__()
        mid = 4 * dim
        self.conv_pw = nn.Sequential(nn.Conv2d(dim, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU())
        self.conv_dw = nn.Sequential(
            nn.Conv2d(mid, mid, 3, padding=1, groups=mid, bias=False), nn.BatchNorm2d(mid), nn.ReLU()
        )
        self.se = SqueezeExcite(mid, mid // 8)
        self.conv_pw2 = nn.Sequential(nn.Conv2d(mid, dim, 1, bias=False), nn.BatchNorm2d(dim))
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, H, W, C]`."""
        branch = self.conv_pw2(self.se(self.conv_dw(self.conv_pw(x.permute(0, 3, 1, 2)))))
        return x + self.drop_path(branch.permute(0, 2, 3, 1))


class EfficientVMamba(Vssm):
    """EfficientVMamba.

    Args:
        dims: Channels of the first stage; each stage doubles them.
        depths: Blocks of the stages.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
        out_norms: A LayerNorm for each map in place of the one before the classifier.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dims: int,
        depths: tuple[int, ...],
        drop_path: float = 0.0,
        out_norms: bool = False,
        kernels: str = "auto",
    ) -> None:
        widths = tuple(dims * 2**i for i in range(len(depths)))
        rates = iter(drop_path_rates(drop_path, sum(depths)))

        def block(index: int, width: int) -> nn.Module:
            if index < SCANNED_STAGES:
                return EvssBlock(width, drop_path=next(rates), kernels=kernels)
            return InvertedResidual(width, drop_path=next(rates))

        super().__init__(
            patch_embed=patch_stem(dims),
            stages=(
                Stage(
                    [block(index, width) for _ in range(depth)],
                    PatchMerging(width, 2 * width) if width < widths[-1] else nn.Identity(),
                )
                for index, (width, depth) in enumerate(zip(widths, depths, strict=True))
            ),
            dims=widths,
            out_norms=out_norms,
        )
        self.depths = depths
        self.apply(init_linear_)

    def own_name(self, key: str) -> str:
        """Our name of a tensor; in the flat official stages module 0 and the one behind the blocks only permute."""
        found = FLAT_STAGE.match(key)
        if found is None or int(found[1]) >= len(self.depths):
            return super().own_name(key)
        stage, index = int(found[1]), int(found[2])
        own = f"blocks.{index - 1}" if index <= self.depths[stage] else "downsample"
        return f"layers.{stage}.{own}.{key[found.end() :]}"
