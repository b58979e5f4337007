"""Blocks of Vision-RWKV, as VRWKV and RWKV-SAM stack them.

Source: Duan et al., "Vision-RWKV" (arXiv 2403.02308), and RWKV-SAM (arXiv 2406.19369), section 3.2.
Parameter names are the official ones, `RwkvBlock`'s RWKV-SAM's.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import bi_wkv, q_shift_mix
from .layers import Grid, make_drop_path

Convention = Literal["paper", "cuda"]


class SpatialMix(nn.Module):
    """Token mixing: q-shift, key / value / receptance projections, bidirectional WKV, gate, output projection.

    With `key_norm` a LayerNorm stands between WKV and gate (so the official code calls it).
    """

    def __init__(
        self, dim: int, *, layer: int, depth: int, convention: Convention, kernels: str, key_norm: bool = False
    ) -> None:
        super().__init__()
        self.convention: Convention = convention
        self.kernels = kernels
        early, late = _layer_ratios(layer, depth)
        ramp = torch.arange(dim) / max(dim - 1, 1)
        channel = torch.arange(dim) / dim
        zigzag = (torch.arange(dim) + 1) % 3 - 1
        self.spatial_decay = nn.Parameter(-5 + 8 * ramp ** (0.7 + 1.3 * late))
        self.spatial_first = nn.Parameter(math.log(0.3) + 0.5 * zigzag.float())
        self.spatial_mix_k = nn.Parameter((channel**early).view(1, 1, dim))
        self.spatial_mix_v = nn.Parameter((channel**early + 0.3 * late).view(1, 1, dim))
        self.spatial_mix_r = nn.Parameter((channel ** (0.5 * early)).view(1, 1, dim))
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.key_norm = nn.LayerNorm(dim) if key_norm else None
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, grid: Grid, norm: nn.Module | None = None) -> Tensor:
        """Mix `x: [B, N, C]` laid out on `grid`; decay and bonus are divided by the token count N.

        With `norm`, mix `norm(x)`, which is held no longer than it is needed.
        """
        x = x if norm is None else norm(x)
        mix = torch.cat([self.spatial_mix_k, self.spatial_mix_v, self.spatial_mix_r]).squeeze(1)  # [3, C]
        to_key, to_value, to_receptance = q_shift_mix(x, mix, grid, backend=self.kernels)
        tokens = x.shape[1]
        # What is no longer needed goes at once: in inference these are the largest tensors of the model.
        del x
        receptance = self.receptance(to_receptance)
        del to_receptance
        key = self.key(to_key)
        del to_key
        value = self.value(to_value)
        del to_value
        mixed = bi_wkv(
            self.spatial_decay / tokens,
            self.spatial_first / tokens,
            key,
            value,
            gate=receptance if self.key_norm is None else None,
            convention=self.convention,
            backend=self.kernels,
        )
        del key, value
        if self.key_norm is not None:
            mixed = torch.sigmoid(receptance) * self.key_norm(mixed)
        return self.output(mixed)


class ChannelMix(nn.Module):
    """Channel mixing: q-shift, squared-ReLU MLP, with `key_norm` normalised inside, receptance gate."""

    def __init__(self, dim: int, *, hidden: int, layer: int, depth: int, kernels: str, key_norm: bool = False) -> None:
        super().__init__()
        self.kernels = kernels
        early, _ = _layer_ratios(layer, depth)
        start = ((torch.arange(dim) / dim) ** early).view(1, 1, dim)
        self.spatial_mix_k = nn.Parameter(start.clone())
        self.spatial_mix_r = nn.Parameter(start.clone())
        self.key = nn.Linear(dim, hidden, bias=False)
        self.key_norm = nn.LayerNorm(hidden) if key_norm else None
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor, grid: Grid, norm: nn.Module | None = None) -> Tensor:
        """Mix `x: [B, N, C]`, or `norm(x)`, laid out on `grid`."""
        x = x if norm is None else norm(x)
        mix = torch.cat([self.spatial_mix_k, self.spatial_mix_r]).squeeze(1)  # [2, C]
        to_key, to_receptance = q_shift_mix(x, mix, grid, backend=self.kernels)
        del x
        receptance = self.receptance(to_receptance)
        del to_receptance
        hidden = relu_squared(self.key(to_key))
        del to_key
        if self.key_norm is not None:
            hidden = self.key_norm(hidden)
        value = self.value(hidden)
        del hidden
        return torch.sigmoid(receptance) * value


class RwkvBlock(nn.Module):
    """Pre-norm block of spatial mix and channel mix with layer scale."""

    def __init__(
        self,
        dim: int,
        *,
        layer: int,
        depth: int,
        mlp_ratio: float,
        drop_path: float,
        layer_scale: float,
        convention: Convention,
        kernels: str,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SpatialMix(dim, layer=layer, depth=depth, convention=convention, kernels=kernels)
        self.mlp = ChannelMix(dim, hidden=int(dim * mlp_ratio), layer=layer, depth=depth, kernels=kernels)
        self.layer_scale_1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        x = torch.addcmul(x, self.layer_scale_1, self.drop_path(self.attn(x, grid, self.norm1)))
        return torch.addcmul(x, self.layer_scale_2, self.drop_path(self.mlp(x, grid, self.norm2)))


def relu_squared(x: Tensor) -> Tensor:
    """The square of `relu(x)`, written over `x`, except that autograd gets the square apart."""
    x = F.relu(x, inplace=True)
    return x.square() if torch.is_grad_enabled() else x.square_()


def _layer_ratios(layer: int, depth: int) -> tuple[float, float]:
    """How early (1 to 0) and how late (0 to 1) a layer is, as the original initialisation counts them."""
    return 1.0 - layer / depth, layer / max(depth - 1, 1)
