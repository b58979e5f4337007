"""The pyramid of VMamba and EfficientVMamba: stem, four stages, norms, and the layouts of their checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, FeatureInfo, Features

# VMamba's names before its second version, and those of its single-file code.
RENAMED = (
    (re.compile(r"^patch_embed\.proj\."), "patch_embed.0."),
    (re.compile(r"^patch_embed\.norm\."), "patch_embed.2."),
    (re.compile(r"\.ln_1\."), ".norm."),
    (re.compile(r"\.self_attention\."), ".op."),
    (re.compile(r"\.op\.(x_proj|dt_projs)\.weight$"), r".op.\1_weight"),
    (re.compile(r"^classifier\.norm\."), "norm."),
)
HEADS = ("head.", "classifier.head.")


class Permute(nn.Module):
    """`torch.permute` as a module: the official stems and downsampling count it among their layers."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """A view of `x` with its dimensions in the given order."""
        return x.permute(self.dims)


class PatchMerging(nn.Module):
    """Swin's downsampling: LayerNorm and a linear layer on each 2x2 square of tokens.

    Odd maps get zeros on the right and at the bottom.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C_out]`."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        squares = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # [B, H/2, 2, W/2, 2, C]
        return self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class Stage(nn.Module):
    """Blocks on one map, and the downsampling to the next."""

    def __init__(self, blocks: Iterable[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, run_block: Callable[[nn.Module, Tensor], Any]) -> tuple[Tensor, Tensor]:
        """`x: [B, H, W, C]` behind the blocks, and what the next stage takes."""
        for block in self.blocks:
            x = run_block(block, x)
        return x, self.downsample(x)


class Vssm(Backbone):
    """Four stages; the maps at strides 4, 8, 16 and 32 are the stages' outputs before the downsampling.

    A side that 32 does not divide gives maps of `ceil(side / stride)`.

    Args:
        patch_embed: `[B, 3, H, W] -> [B, H/4, W/4, C]`.
        stages: The stages.
        dims: Their channels.
        out_norms: Give each map a LayerNorm of its own, as the official detection and segmentation models do, in place
            of the one before the classifier; `pooled` is then the mean of the last map.
    """

    image_multiple = 4

    def __init__(
        self, *, patch_embed: nn.Module, stages: Iterable[Stage], dims: tuple[int, ...], out_norms: bool
    ) -> None:
        super().__init__()
        self.patch_embed = patch_embed
        self.layers = nn.ModuleList(stages)
        self.norm = None if out_norms else nn.LayerNorm(dims[-1])
        if out_norms:
            for index, dim in enumerate(dims):
                self.add_module(f"outnorm{index}", nn.LayerNorm(dim))
        self.feature_info = tuple(FeatureInfo(dim, 4 * 2**i) for i, dim in enumerate(dims))
        self.pooled_channels = dims[-1]

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of 4; `pooled` is the mean of the normalised last map."""
        self.check_images(images)
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        maps: list[Tensor] = []
        for index, stage in enumerate(self.layers):
            out, x = stage(x, self.run_block)
            maps.append(out if self.norm is not None else getattr(self, f"outnorm{index}")(out))
        last = maps[-1] if self.norm is None else self.norm(maps[-1])
        return Features(tuple(out.permute(0, 3, 1, 2) for out in maps), last.mean(dim=(1, 2)))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring every official layout to our names: both of VMamba, the older one, detection and classification.

        The linear head is left out. Where a classification checkpoint meets a model with `out_norms`, its last norm is
        left out too, and the out norms, of which it has none, keep their values; no other checkpoint may lack them.
        """
        own = self.state_dict()
        part = {self.own_name(key): value for key, value in state.items() if not key.startswith(HEADS)}
        if self.norm is None and part.pop("norm.weight", None) is not None:
            part.pop("norm.bias", None)
            if not any(key.startswith("outnorm") for key in part):
                part |= {key: value for key, value in own.items() if key.startswith("outnorm")}
        return {key: _shaped(value, own.get(key)) for key, value in part.items()}

    def own_name(self, key: str) -> str:
        """Our name of a tensor."""
        for pattern, replacement in RENAMED:
            key = pattern.sub(replacement, key)
        return key


def patch_stem(dim: int) -> nn.Sequential:
    """Patches of 4x4 pixels and a LayerNorm, `[B, 3, H, W] -> [B, H/4, W/4, C]`."""
    return nn.Sequential(nn.Conv2d(3, dim, 4, stride=4), Permute(0, 2, 3, 1), nn.LayerNorm(dim))


def _shaped(value: Tensor, own: Tensor | None) -> Tensor:
    """The weight of a 1x1 convolution as a linear layer's, and one matrix of all directions as one for each."""
    if own is None or own.ndim < 2 or value.ndim == own.ndim or value.ndim < 2:
        return value
    return value.reshape(own.shape) if value.flatten(1).shape == own.flatten(0, -2).shape else value
