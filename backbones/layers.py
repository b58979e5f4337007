"""Blocks that several backbone families share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from ..errors import UsageError
from .strips import in_row_strips

Grid = tuple[int, int]


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a `[B, C, H, W]` map.

    The work is done on the `[B, H, W, C]` view, which in channels-last memory is no copy.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel of `x: [B, C, H, W]` over C."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class MBConv(nn.Module):
    """Inverted bottleneck with one LayerNorm in front: 1x1, GELU, depthwise 3x3, GELU, 1x1, residual.

    The middle width is `expand` times the *output* width; with stride 2 the shortcut is a 3x3 average pool.
    Source: ViTamin's MbConv-LN block, as RWKV-SAM uses it; parameter names are the official ones.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, expand: int = 4) -> None:
        super().__init__()
        mid = math.ceil(expand * out_channels / 8) * 8
        self.stride = stride
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride)
        self.pre_norm = LayerNorm2d(in_channels)
        self.conv1_1x1 = nn.Conv2d(in_channels, mid, 1)
        self.conv2_kxk = nn.Conv2d(mid, mid, 3, stride=stride, padding=1, groups=mid)
        self.conv3_1x1 = nn.Conv2d(mid, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H/stride, W/stride]`."""
        row_bytes = self.conv1_1x1.out_channels * self.stride * x.shape[3] * x.element_size()
        spoiled = (1, 1 if self.stride == 1 else 0)
        return in_row_strips(self._convolve, x, stride=self.stride, spoiled=spoiled, row_bytes=row_bytes)

    def _convolve(self, x: Tensor) -> Tensor:
        branch = gelu(self.conv1_1x1(self.pre_norm(x)))
        branch = gelu(self.conv2_kxk(branch))
        return self.shortcut(x) + self.conv3_1x1(branch)


class Shortcut(nn.Module):
    """Residual path of `MBConv`: pool when the stride is 2, widen when the channels grow."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False) if stride > 1 else nn.Identity()
        self.expand = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H/stride, W/stride]`."""
        return self.expand(self.pool(x))


class PatchEmbed(nn.Module):
    """Non-overlapping patches by one strided convolution.

    Args:
        dim: Channels out.
        patch: Patch size in pixels.
    """

    def __init__(self, dim: int, patch: int = 16) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W] -> [B, C, H/p, W/p]`."""
        return self.proj(images)


class Mlp(nn.Module):
    """Two linear layers with exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`x: [..., C] -> [..., C]`."""
        return self.fc2(F.gelu(self.fc1(x)))


class MixerBlock(nn.Module):
    """Pre-norm transformer block around any token mixer.

    Args:
        dim: Token width.
        mixer: Called as `mixer(tokens: [B, N, C], grid) -> [B, N, C]`, where `grid` is the height and width of the
            map that the last `H * W` tokens form; tokens before them (a class token) belong to no place.
        drop_path: Stochastic depth of both branches.
        mlp_ratio: Hidden width of the MLP over its width.
    """

    def __init__(self, dim: int, mixer: nn.Module, *, drop_path: float = 0.0, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = mixer
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`."""
        x = x + self.drop_path(self.attn(self.norm1(x), grid))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def gelu(x: Tensor) -> Tensor:
    """Exact GELU, written over `x` where autograd does not need it any more."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


def make_drop_path(rate: float) -> nn.Module:
    """Stochastic depth at this rate; at 0 a module that does nothing."""
    return DropPath(rate) if rate else nn.Identity()


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Stochastic-depth rates that grow linearly from 0 to `last` over `depth` blocks.

    Raises:
        UsageError: `last` is no rate.
    """
    if not 0 <= last < 1:
        raise UsageError(f"drop_path: expected a rate from 0 to less than 1, got {last}")
    return [last * i / max(depth - 1, 1) for i in range(depth)]


def to_tokens(x: Tensor) -> Tensor:
    """`[B, C, H, W] -> [B, H*W, C]`; no copy in channels-last memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(tokens: Tensor, grid: Grid) -> Tensor:
    """`[B, H*W, C] -> [B, C, H, W]`, channels-last in memory, no copy."""
    return tokens.unflatten(1, grid).permute(0, 3, 1, 2)


def init_conv_(module: nn.Module) -> None:
    """Initialise a convolution with a normal of variance 2 / fan-out and zero bias; leave other modules alone."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_linear_(module: nn.Module) -> None:
    """Initialise a linear layer with a truncated normal of 0.02 and zero bias; leave other modules alone."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_steps_(weight: Tensor, bias: Tensor) -> None:
    """Initialise the projection to Mamba's step sizes: `softplus(bias)` is log-uniform in 0.001..0.1.

    Args:
        weight: `[..., D, R]`; uniform within the root of 1 / R.
        bias: `[..., D]`.
    """
    rank = weight.shape[-1]
    nn.init.uniform_(weight, -(rank**-0.5), rank**-0.5)
    with torch.no_grad():
        steps = torch.exp(torch.empty_like(bias).uniform_(math.log(1e-3), math.log(1e-1)))
        bias.copy_(steps + torch.log(-torch.expm1(-steps)))
