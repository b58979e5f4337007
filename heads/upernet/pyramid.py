"""Four maps of strides 4, 8, 16 and 32 from whatever maps a backbone has.

Source: the neck that BEiT, Vim and mmsegmentation's plain ViTs put between one map of stride 16 and UperNet.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...backbones.base import FeatureInfo
from .norm import SyncedBatchNorm2d

STRIDES = (4, 8, 16, 32)


class Pyramid(nn.Module):
    """Maps a backbone has are passed on; the others are made of the nearest that it has.

    A finer map comes from the next coarser one by transposed 2x2 convolutions, batch norm and GELU between two of them,
    a coarser one from the next finer by 2x2 max pooling. So a single map of stride 16 gives what the originals' necks
    give: enlarged 4 and 2 times, as it is, and halved. They feed the neck from four blocks of the backbone, LinBench
    from its last map. A single map of another stride is enlarged and halved likewise. Of several maps of one stride the
    last is used; maps finer than stride 4 or coarser than 32 are not.

    Args:
        maps: Channels and stride of each map, fine to coarse.

    Attributes:
        feature_info: Channels and stride of the four maps.
    """

    def __init__(self, maps: Sequence[FeatureInfo]) -> None:
        super().__init__()
        found = {info.stride: index for index, info in enumerate(maps)}
        targets = _targets(tuple(found))
        sources = [_nearest(target, tuple(found)) for target in targets]
        self.sources = tuple(found[stride] for stride in sources)
        channels = [maps[index].channels for index in self.sources]
        self.feature_info = tuple(
            FeatureInfo(width, round(target)) for width, target in zip(channels, targets, strict=True)
        )
        self.levels = nn.ModuleList(
            _level(width, source / target) for width, source, target in zip(channels, sources, targets, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`maps[i]: [B, C_i, H/s_i, W/s_i]` -> four maps, fine to coarse."""
        return tuple(level(maps[source]) for level, source in zip(self.levels, self.sources, strict=True))


def _targets(strides: tuple[int, ...]) -> tuple[float, ...]:
    if len(strides) == 1:
        return tuple(strides[0] * factor for factor in (0.25, 0.5, 1.0, 2.0))
    if set(strides) & set(STRIDES):
        return tuple(map(float, STRIDES))
    return tuple(max(strides) * factor for factor in (0.125, 0.25, 0.5, 1.0))


def _nearest(target: float, strides: tuple[int, ...]) -> int:
    """The stride itself, else the next coarser one that is there, else the coarsest."""
    coarser = [stride for stride in strides if stride >= target]
    return min(coarser) if coarser else max(stride for stride in strides if stride < target)


def _level(channels: int, factor: float) -> nn.Module:
    if factor < 1:
        # Rounding up keeps a map of one pixel.
        return nn.Sequential(*(nn.MaxPool2d(2, ceil_mode=True) for _ in range(round(1 / factor).bit_length() - 1)))
    steps: list[nn.Module] = []
    for _ in range(round(factor).bit_length() - 1):
        steps += [SyncedBatchNorm2d(channels), nn.GELU()] if steps else []
        steps.append(nn.ConvTranspose2d(channels, channels, 2, stride=2))
    return nn.Sequential(*steps)
