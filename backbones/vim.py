"""Vim: Mamba blocks that scan the sequence of patches in both directions, a class token in its middle.

Source: Zhu et al., "Vision Mamba" (arXiv 2401.09417); parameter names are the official ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers.weight_init import lecun_normal_
from torch import Tensor, nn

from ..kernels import causal_conv1d, selective_scan
from .base import Backbone, FeatureInfo, Features
from .layers import Grid, PatchEmbed, drop_path_rates, init_steps_, make_drop_path, to_map, to_tokens
from .official import CLASSIFIER_HEADS
from .position import (
    has_middle_token,
    insert_middle_token,
    resize_around_middle_token,
    resize_position_embedding,
    split_middle_token,
)

STATES = 16
CONV_WIDTH = 4
EPS = 1e-5
# Older checkpoints hold the buffers of a rotary embedding that none of the released models applies.
LEFT_OUT = ("rope.freqs_cos", "rope.freqs_sin")


class RMSNorm(nn.RMSNorm):
    """RMSNorm of a float32 residual stream: computed in the stream's type, returned in the weight's."""

    def forward(self, x: Tensor) -> Tensor:
        """`x: [..., C] -> [..., C]`."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps).to(self.weight.dtype)


class BiMamba(nn.Module):
    """Mamba's mixer in both directions over the tokens, with shared projections in and out.

    Each direction has its own convolution, step sizes, rates and skips; those of the backward one end in `_b`.

    Args:
        dim: Token width.
        depth: Blocks of the model; the projection out starts smaller by its square root.
        divide_out: Average the two directions instead of adding them.
        kernels: Backend of the operators.
    """

    def __init__(self, dim: int, *, depth: int, divide_out: bool, kernels: str) -> None:
        super().__init__()
        self.divide_out = divide_out
        self.kernels = kernels
        inner = 2 * dim
        self.rank = math.ceil(dim / 16)
        rates = torch.log(torch.arange(1.0, STATES + 1)).repeat(inner, 1)
        self.A_log = nn.Parameter(rates.clone())
        self.D = nn.Parameter(torch.ones(inner))
        self.A_b_log = nn.Parameter(rates.clone())
        self.D_b = nn.Parameter(torch.ones(inner))
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, CONV_WIDTH, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.conv1d_b = nn.Conv1d(inner, inner, CONV_WIDTH, groups=inner)
        self.x_proj_b = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj_b = nn.Linear(self.rank, inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        init_steps_(self.dt_proj.weight, self.dt_proj.bias)
        nn.init.zeros_(self.dt_proj_b.bias)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(depth)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the original marks as not to decay."""
        return {"A_log", "D", "A_b_log", "D_b"}

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens: [B, L, C] -> [B, L, C]`."""
        # Two products, so that the operators get whole tensors where the halves of one would be copied.
        to_x, to_z = self.in_proj.weight.chunk(2)
        x = F.linear(tokens, to_x).transpose(1, 2)  # [B, 2C, L], channels neighbours in memory
        z = F.linear(tokens, to_z).transpose(1, 2)
        forward = self._scan(x, z, self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D, reverse=False)
        backward = self._scan(x, z, self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b, reverse=True)
        merged = torch.lerp(forward, backward, 0.5) if self.divide_out else forward + backward
        return self.out_proj(merged.transpose(1, 2))

    def _scan(
        self,
        x: Tensor,
        z: Tensor,
        conv: nn.Conv1d,
        x_proj: nn.Linear,
        dt_proj: nn.Linear,
        A_log: Tensor,
        D: Tensor,
        *,
        reverse: bool,
    ) -> Tensor:
        """One direction: `x` and the gate `z`, `[B, 2C, L] -> [B, 2C, L]`."""
        u = causal_conv1d(
            x, conv.weight.squeeze(1), conv.bias, activation="silu", reverse=reverse, backend=self.kernels
        )
        step, B, C = x_proj(u.transpose(1, 2)).split((self.rank, STATES, STATES), dim=2)
        return selective_scan(
            u,
            F.linear(step, dt_proj.weight).transpose(1, 2),
            -torch.exp(at_least_float32(A_log)),
            B.transpose(1, 2).unsqueeze(1),
            C.transpose(1, 2).unsqueeze(1),
            D,
            z,
            dt_proj.bias,
            delta_softplus=True,
            reverse=reverse,
            backend=self.kernels,
        )


class VimBlock(nn.Module):
    """RMSNorm and the mixer, added to a float32 residual stream."""

    def __init__(self, dim: int, *, depth: int, drop_path: float, divide_out: bool, kernels: str) -> None:
        super().__init__()
        self.norm = RMSNorm(dim, eps=EPS)
        self.mixer = BiMamba(dim, depth=depth, divide_out=divide_out, kernels=kernels)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, residual: Tensor) -> Tensor:
        """`[B, L, C] -> [B, L, C]`, float32."""
        return residual + self.drop_path(self.mixer(self.norm(residual)))


class Vim(Backbone):
    """Vision Mamba; one normalised map at stride 16, without the class token.

    Args:
        dim: Token width.
        depth: Blocks.
        class_token: Put a class token into the middle of the sequence, as the published models do, and pool by it;
            without it `pooled` is the mean of the patches, and a checkpoint's class token is left out.
        position_grid: Side, or height and width, of the learned position-embedding grid; resized (bicubic) to the
            image's grid.
        divide_out: Average the two directions instead of adding them.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int = 24,
        class_token: bool = True,
        position_grid: int | Grid = 14,
        divide_out: bool = True,
        drop_path: float = 0.0,
        kernels: str = "auto",
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim)
        self.position_grid = (position_grid, position_grid) if isinstance(position_grid, int) else position_grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.position_grid) + class_token, dim))
        self.layers = nn.ModuleList(
            VimBlock(dim, depth=depth, drop_path=rate, divide_out=divide_out, kernels=kernels)
            for rate in drop_path_rates(drop_path, depth)
        )
        self.norm_f = RMSNorm(dim, eps=EPS)
        lecun_normal_(self.patch_embed.proj.weight)
        if self.patch_embed.proj.bias is not None:
            nn.init.zeros_(self.patch_embed.proj.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.feature_info = (FeatureInfo(dim, 16),)
        self.pooled_channels = dim

    def no_weight_decay(self) -> set[str]:
        """Parameters that the original keeps from weight decay."""
        return {"pos_embed", "cls_token"}

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of 16; `pooled` is the class token, or the mean without one."""
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[2], x.shape[3])
        tokens = to_tokens(x)
        if self.cls_token is None:
            tokens = tokens + resize_position_embedding(self.pos_embed, grid, old=self.position_grid)
        else:
            tokens = insert_middle_token(tokens, self.cls_token.expand(x.shape[0], -1, -1))
            tokens = tokens + resize_around_middle_token(self.pos_embed, grid, old=self.position_grid)
        tokens = at_least_float32(tokens)
        for layer in self.layers:
            tokens = self.run_block(layer, tokens)
        tokens = self.norm_f(tokens)
        if self.cls_token is None:
            return Features((to_map(tokens, grid),), tokens.mean(dim=1))
        patches, pooled = split_middle_token(tokens)
        return Features((to_map(patches, grid),), pooled.squeeze(1))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fit the position embedding around its middle row; leave out the head, rotary buffers, unused class rows."""
        heads = ("head.", *CLASSIFIER_HEADS)
        part = {key: value for key, value in state.items() if key not in LEFT_OUT and not key.startswith(heads)}
        if self.cls_token is None:
            part.pop("cls_token", None)
        position = part.get("pos_embed")
        if position is not None and position.shape != self.pos_embed.shape and has_middle_token(position):
            part["pos_embed"] = (
                resize_position_embedding(split_middle_token(position)[0], self.position_grid)
                if self.cls_token is None
                else resize_around_middle_token(position, self.position_grid)
            )
        return part


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself where it is float32 or float64, else in float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
