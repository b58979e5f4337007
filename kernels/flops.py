"""FLOP formulas of the operators, for `torch.utils.flop_counter`; the operators' benchmark cases declare the same.

What only moves numbers (the scans' reordering) counts nothing, nor does work on single elements (q-shift's mix, the
gate of Bi-WKV), as in published counts. Attention made of torch's own operators is counted by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

Size = torch.Size


def _bi_wkv(decay: Size, bonus: Size, k: Size, v: Size, *_: Any, **__: Any) -> int:
    # The rule Vision-RWKV counts by.
    return 29 * prod(v)


def _bi_wkv_backward(*args: Any, **_: Any) -> int:
    return 2 * _bi_wkv(*args)


def _causal_conv1d(x: Size, weight: Size, bias: Size | None, silu: bool, *_: Any, **__: Any) -> int:
    return prod(x) * (2 * weight[1] + 2 * silu)


def _causal_conv1d_backward(x: Size, weight: Size, bias: Size | None, g: Size, silu: bool, *_: Any, **__: Any) -> int:
    # A multiply-add per tap for x and for the weight; under a SiLU the sums before it again, and its slope.
    return prod(x) * (4 * weight[1] + silu * (2 * weight[1] + 6))


def _cross_merge(y: Size, *_: Any, **__: Any) -> int:
    return 3 * prod(y) // 4


def _selective_scan(
    u: Size, delta: Size, A: Size, B: Size, C: Size, D: Size | None, z: Size | None, *_: Any, **__: Any
) -> int:
    # Vim and VMamba count nine operations per state.
    return prod(u) * (9 * A[1] + 2 + 2 * (z is not None))


def _selective_scan_backward(
    u: Size, delta: Size, A: Size, B: Size, C: Size, D: Size | None, z: Size | None, *_: Any, **__: Any
) -> int:
    return prod(u) * (23 * A[1] + 4 + 6 * (z is not None))


def _selective_scan_2d(x: Size, delta: Size, A: Size, *_: Any, **__: Any) -> int:
    return 4 * prod(x) * (9 * A[1] + 2)


def _selective_scan_2d_backward(x: Size, delta: Size, A: Size, *_: Any, **__: Any) -> int:
    return 4 * prod(x) * (23 * A[1] + 4)


def _deform_conv2d(x: Size, weight: Size, offset: Size, *_: Any, **__: Any) -> int:
    # As a convolution of the same size: reading between pixels counts nothing.
    return 2 * prod(weight) * offset[0] * prod(offset[2:])


def _deform_conv2d_backward(g: Size, x: Size, weight: Size, offset: Size, *_: Any, **__: Any) -> int:
    return 2 * _deform_conv2d(x, weight, offset)


_FORMULAS: dict[str, Callable[..., int]] = {
    "bi_wkv_forward": _bi_wkv,
    "bi_wkv_backward": _bi_wkv_backward,
    "causal_conv1d": _causal_conv1d,
    "causal_conv1d_backward": _causal_conv1d_backward,
    "cross_merge": _cross_merge,
    "selective_scan_forward": _selective_scan,
    "selective_scan_backward": _selective_scan_backward,
    "selective_scan_2d": _selective_scan_2d,
    "selective_scan_2d_backward": _selective_scan_2d_backward,
}


def register_flop_formulas() -> None:
    """Teaches `FlopCounterMode` to count the operators, and torch's attention where it cannot.

    Call it before counting, as often as you like. Not done on import because torch's counter imports Triton.
    """
    from torch.utils.flop_counter import (
        flop_registry,
        register_flop_formula,
        sdpa_backward_flop_count,
        sdpa_flop_count,
    )

    # torch before 2.15 does not count its own fused attention on the CPU.
    aten = torch.ops.aten
    if aten._scaled_dot_product_flash_attention_for_cpu not in flop_registry:
        register_flop_formula(aten._scaled_dot_product_flash_attention_for_cpu)(
            lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
        )
        register_flop_formula(aten._scaled_dot_product_flash_attention_for_cpu_backward)(
            lambda g, q, k, v, *_, **__: sdpa_backward_flop_count(g, q, k, v)
        )
    # torchvision's, which torch does not count either; its operators are there once it is imported.
    vision = torch.ops.torchvision
    if hasattr(vision, "deform_conv2d") and vision.deform_conv2d not in flop_registry:
        register_flop_formula(vision.deform_conv2d)(_deform_conv2d)
        register_flop_formula(vision._deform_conv2d_backward)(_deform_conv2d_backward)
    for name, formula in _FORMULAS.items():
        operator = getattr(torch.ops.linbench, name)
        if operator not in flop_registry:
            register_flop_formula(operator)(formula)
