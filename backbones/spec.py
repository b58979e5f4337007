"""A backbone described as data; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone described as data.

    Attributes:
        name: Registry name.
        family: The architecture it belongs to.
        mixer: Token mixer, in the field's terms (`bi-wkv`, `softmax`, ...).
        builder: `package.module:function`, imported on first use; `.module:function` inside `linbench.backbones`.
        kwargs: Arguments of the builder.
        params: Expected parameter counts by the convention they are quoted in: `backbone` (no head),
            `with_head` (1,000-class linear head), `with_head_1024` (and a position embedding for 1024 pixels),
            `with_neck` (SAM's neck, no head).
        source: Paper or repository of the architecture.
        licence: Licence of the original code; empty for that of its family (`checkpoints.LICENCES`).
        operators: LinBench operators the model calls.
        strides: Strides of the feature maps, fine to coarse.
        image_multiple: Height and width must be multiples of this.
        macs: Multiply-adds of one square image, by its side: linear layers, convolutions and attention.
        operator_flops: FLOPs of LinBench's operators on top of `macs`, by their declared formulas, likewise.
        dense: Arguments of the builder where the maps feed a dense head (SAM's decoder, UperNet), on top of `kwargs`.
        pyramid: Further ones where that head wants maps down to stride 32 (UperNet).
        mean: Per-channel mean that images are normalised with, in 0..1 units.
        std: Per-channel standard deviation, likewise.
        note: What a reader of a table must know about this entry.
    """

    name: str
    family: str
    mixer: str
    builder: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    operators: tuple[str, ...] = ()
    strides: tuple[int, ...] = (16,)
    image_multiple: int = 16
    macs: Mapping[int, int] = field(default_factory=dict)
    operator_flops: Mapping[int, int] = field(default_factory=dict)
    dense: Mapping[str, Any] = field(default_factory=dict)
    pyramid: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    note: str = ""
    licence: str = ""
