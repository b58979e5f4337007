"""VMamba: a pyramid of blocks that scan the map in four directions.

Source: Liu et al., "VMamba: Visual State Space Model" (arXiv 2401.10166); MzeroMiko/VMamba, its second version
(`v05_noz`) and its first (`v0`). Parameter names are the official ones, of the classification code.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .layers import Mlp, drop_path_rates, init_linear_, make_drop_path
from .ss2d import SS2D
from .vssm import PatchMerging, Permute, Stage, Vssm, patch_stem

Version = Literal["v0", "v2"]


class VssBlock(nn.Module):
    """SS2D and, where `mlp_ratio` is not 0, an MLP, each with a LayerNorm in front and a residual around."""

    def __init__(self, dim: int, *, op: SS2D, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.op = op
        self.norm2 = nn.LayerNorm(dim) if mlp_ratio else None
        self.mlp = Mlp(dim, int(mlp_ratio * dim)) if mlp_ratio else None
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, H, W, C]`."""
        x = x + self.drop_path(self.op(self.norm(x)))
        if self.mlp is not None and self.norm2 is not None:
            x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class VMamba(Vssm):
    """VMamba in one of its two published forms.

    Args:
        dims: Channels of the first stage; each stage doubles them.
        depths: Blocks of the stages.
        version: `v2`: one state, an MLP in each block, stem and downsampling of 3x3 convolutions. `v0`: 16 states and
            a gate, no MLP, stem of 4x4 patches, Swin's patch merging.
        ssm_ratio: Inner channels of the scan over the block's.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
        out_norms: A LayerNorm for each map in place of the one before the classifier.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dims: int,
        depths: tuple[int, ...],
        version: Version = "v2",
        ssm_ratio: float = 2.0,
        drop_path: float = 0.0,
        out_norms: bool = False,
        kernels: str = "auto",
    ) -> None:
        first = version == "v0"
        widths = tuple(dims * 2**i for i in range(len(depths)))
        rates = iter(drop_path_rates(drop_path, sum(depths)))

        def block(width: int) -> VssBlock:
            op = SS2D(width, states=16 if first else 1, ratio=ssm_ratio, gate=first, conv_bias=first, kernels=kernels)
            return VssBlock(width, op=op, mlp_ratio=0.0 if first else 4.0, drop_path=next(rates))

        downsample = PatchMerging if first else conv_downsample
        super().__init__(
            patch_embed=patch_stem(dims) if first else conv_stem(dims),
            stages=(
                Stage(
                    [block(width) for _ in range(depth)],
                    downsample(width, 2 * width) if width < widths[-1] else nn.Identity(),
                )
                for width, depth in zip(widths, depths, strict=True)
            ),
            dims=widths,
            out_norms=out_norms,
        )
        self.apply(init_linear_)


def conv_stem(dim: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2, `[B, 3, H, W] -> [B, H/4, W/4, C]`."""
    return nn.Sequential(
        nn.Conv2d(3, dim // 2, 3, stride=2, padding=1),
        Permute(0, 2, 3, 1),
        nn.LayerNorm(dim // 2),
        Permute(0, 3, 1, 2),
        nn.GELU(),
        nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1),
        Permute(0, 2, 3, 1),
        nn.LayerNorm(dim),
    )


def conv_downsample(dim: int, out_dim: int) -> nn.Sequential:
    """A 3x3 convolution of stride 2 and a LayerNorm, `[B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C_out]`."""
    return nn.Sequential(
        Permute(0, 3, 1, 2),
        nn.Conv2d(dim, out_dim, 3, stride=2, padding=1),
        Permute(0, 2, 3, 1),
        nn.LayerNorm(out_dim),
    )
