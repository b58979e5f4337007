"""The stages of a backbone, found by running it on the meta device: where its blocks stand, and how wide they are."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from ...backbones import create_backbone
from ...backbones.base import Backbone

SIDE = 224
# What a repeated unit of a backbone is called, here and in timm.
_BLOCK = re.compile(r"Block|MBConv|Bottleneck|InvertedResidual")


@dataclass
class Stage:
    """Blocks that follow each other at one resolution.

    Attributes:
        stride: Pixels of the image for one of the map, along a side.
        channels: Width of their output.
        kinds: How many blocks of each class.
    """

    stride: int
    channels: int
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def blocks(self) -> int:
        """All of them."""
        return self.kinds.total()


def stages_of(name: str) -> tuple[Backbone, list[Stage]]:
    """Build a backbone on the meta device and run it once.

    A block is a module whose class is called so and that lies in no other block. A feature map that no block has the
    place and width of is a stage without blocks.

    Args:
        name: As for `create_backbone`.

    Returns:
        The backbone, and its stages from fine to coarse.
    """
    with torch.device("meta"):
        backbone = create_backbone(name).eval()
        images = torch.zeros(1, 3, SIDE, SIDE)
    stages: dict[tuple[int, int], Stage] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        place = _place(output if isinstance(output, Tensor) else output[0])
        stages.setdefault(place, Stage(*place)).kinds[type(module).__name__] += 1

    hooks = [block.register_forward_hook(note) for block in _blocks(backbone)]
    with torch.no_grad():
        backbone(images)
    for hook in hooks:
        hook.remove()
    for info in backbone.feature_info:
        stages.setdefault((info.stride, info.channels), Stage(info.stride, info.channels))
    return backbone, sorted(stages.values(), key=lambda stage: stage.stride)


def _blocks(module: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in module.children():
        block = _BLOCK.search(type(child).__name__) and not isinstance(child, (nn.ModuleList, nn.Sequential))
        found += [child] if block else _blocks(child)
    return found


def _place(output: Tensor) -> tuple[int, int]:
    """Stride and channels of a block's output: tokens `[B, N, C]`, or a map with channels first or last."""
    if output.ndim == 3:
        # Class tokens beside the grid do not change the root.
        return round(SIDE / isqrt(output.shape[1])), output.shape[2]
    _, first, middle, last = output.shape
    side, channels = (middle, first) if middle == last else (first, last)
    return round(SIDE / side), channels
