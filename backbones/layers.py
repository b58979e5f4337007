"""Blocks that several backbone families share."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn


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
        self.shortcut = Shortcut(in_channels, out_channels, stride=stride)
        self.pre_norm = LayerNorm2d(in_channels)
        self.conv1_1x1 = nn.Conv2d(in_channels, mid, 1)
        self.conv2_kxk = nn.Conv2d(mid, mid, 3, stride=stride, padding=1, groups=mid)
        self.conv3_1x1 = nn.Conv2d(mid, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W] -> [B, C_out, H/stride, W/stride]`."""
        branch = F.gelu(self.conv1_1x1(self.pre_norm(x)))
        branch = F.gelu(self.conv2_kxk(branch))
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
