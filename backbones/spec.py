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
        builder: `module:function` inside `linbench.backbones`, imported on first use.
        kwargs: Arguments of the builder.
        params: Expected parameter counts by the convention they are quoted in: `backbone` (no head),
            `with_head` (1,000-class linear head).
        source: Paper or repository of the architecture.
        operators: LinBench operators the model calls.
        image_multiple: Height and width must be multiples of this.
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
    image_multiple: int = 16
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    note: str = ""
