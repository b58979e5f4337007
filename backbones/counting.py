"""Counting the operations of a backbone without running it: its tensors are of the meta device."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from ..kernels.flops import register_flop_formulas
from .registry import create_backbone


class Operations(NamedTuple):
    """Operations of one image.

    Attributes:
        macs: Multiply-adds of linear layers, convolutions and attention.
        operator_flops: FLOPs of LinBench's operators, by their declared formulas (`kernels/flops.py`).
    """

    macs: int
    operator_flops: int


def count_operations(name: str, side: int, **overrides: Any) -> Operations:
    """Count the operations of one forward pass on a square image.

    Element-wise work (norms, activations, residual sums) counts nothing, as in published counts.

    Args:
        name: Backbone, as `create_backbone` takes it.
        side: Height and width of the image in pixels.
        overrides: As for `create_backbone`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    register_flop_formulas()
    with torch.device("meta"):
        backbone = create_backbone(name, **overrides).eval()
        images = torch.zeros(1, 3, side, side)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        backbone(images)
    own, rest = 0, 0
    for operator, flops in counter.get_flop_counts()["Global"].items():
        if str(operator).startswith("linbench."):
            own += flops
        else:
            rest += flops
    return Operations(rest // 2, own)
