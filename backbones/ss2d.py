"""SS2D, the token mixer of VMamba and EfficientVMamba: projections around a selective scan of the map.

Sources: VMamba (arXiv 2401.10166), section 4; EfficientVMamba (arXiv 2403.09977), section 3.2. Parameter names are
those of VMamba's classification code, which EfficientVMamba took over.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import atrous_merge, atrous_scan, selective_scan, selective_scan_2d
from .layers import init_steps_

DIRECTIONS = 4


class SS2D(nn.Module):
    """Scans the map by rows and by columns from either end, each direction with its own parameters.

    Args:
        dim: Channels in and out.
        states: States of each channel, N.
        ratio: Inner channels, Di, over `dim`.
        gate: Multiply the normalised scan by SiLU of a second projection of the input.
        conv_bias: Bias of the depthwise convolution.
        kernels: Backend of the operators.
    """

    def __init__(
        self, dim: int, *, states: int, ratio: float = 2.0, gate: bool, conv_bias: bool, kernels: str = "auto"
    ) -> None:
        super().__init__()
        self.inner, rank = int(ratio * dim), math.ceil(dim / 16)
        self.widths = (rank, states, states)
        self.gate = gate
        self.kernels = kernels
        self.in_proj = nn.Linear(dim, (1 + gate) * self.inner, bias=False)
        self.conv2d = nn.Conv2d(self.inner, self.inner, 3, padding=1, groups=self.inner, bias=conv_bias)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * states, self.inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, self.inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, self.inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(DIRECTIONS * self.inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * self.inner))
        self.out_norm = nn.LayerNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, dim, bias=False)
        nn.init.uniform_(self.x_proj_weight, -(self.inner**-0.5), self.inner**-0.5)
        init_steps_(self.dt_projs_weight, self.dt_projs_bias)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the original marks as not to decay."""
        return {"A_logs", "Ds"}

    def forward(self, x: Tensor) -> Tensor:
        """`x: [B, H, W, C] -> [B, H, W, C]`."""
        # Two products, so that the convolution gets a whole tensor where the half of one would be copied.
        weight = self.in_proj.weight
        inner = project(weight[: self.inner], x.permute(0, 3, 1, 2))
        y = self.out_norm(self.scan(F.silu(self.conv2d(inner))))
        if self.gate:
            y = y * F.silu(F.linear(x, weight[self.inner :]))
        return self.out_proj(y)

    def scan(self, x: Tensor) -> Tensor:
        """`x: [B, Di, H, W] -> [B, H, W, Di]`, the sum of the four directions."""
        # What a direction reads of a pixel is the pixel's own, so the map is projected where it lies.
        steps = project(self.x_proj_weight.flatten(0, 1), x).unflatten(1, (DIRECTIONS, -1))
        narrow, B, C = steps.split(self.widths, dim=2)
        delta = project(self.dt_projs_weight, narrow)
        y = selective_scan_2d(
            x,
            delta,
            self.rates(),
            B,
            C,
            self.Ds,
            self.dt_projs_bias.flatten(),
            delta_softplus=True,
            backend=self.kernels,
        )
        return y.permute(0, 2, 3, 1)

    def rates(self) -> Tensor:
        """The rate A of each state, `[4 * Di, N]`, in float32 at least."""
        return -torch.exp(self.A_logs.to(torch.promote_types(self.A_logs.dtype, torch.float32)))


class AtrousSS2D(SS2D):
    """Cuts the map into four interleaved sub-grids and scans each of them once, forward."""

    def scan(self, x: Tensor) -> Tensor:
        """`x: [B, Di, H, W] -> [B, H, W, Di]`."""
        grid = (x.shape[2], x.shape[3])
        sequences = atrous_scan(x, backend=self.kernels)  # [B, 4, Di, L]
        narrow, B, C = (self.x_proj_weight @ sequences).split(self.widths, dim=2)
        delta = self.dt_projs_weight @ narrow
        y = selective_scan(
            sequences.flatten(1, 2),
            delta.flatten(1, 2),
            self.rates(),
            B,
            C,
            self.Ds,
            delta_bias=self.dt_projs_bias.flatten(),
            delta_softplus=True,
            backend=self.kernels,
        )
        merged = atrous_merge(y.unflatten(1, (DIRECTIONS, -1)), grid, backend=self.kernels)  # [B, Di, H * W]
        return merged.mT.unflatten(1, grid)


def project(weight: Tensor, x: Tensor) -> Tensor:
    """A 1x1 convolution that leaves its result in the memory layout that the scan reads fastest.

    On a GPU neighbouring pixels are neighbours in memory, elsewhere channels are.

    Args:
        weight: `[..., O, I]`.
        x: `[B, ..., I, H, W]`.

    Returns:
        `[B, ..., O, H, W]`.
    """
    grid, pixels = x.shape[-2:], x.flatten(-2)
    if x.is_cuda:
        return (weight @ pixels).unflatten(-1, grid)
    return (pixels.mT @ weight.mT).unflatten(-2, grid).movedim(-1, -3)
