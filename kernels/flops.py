"""FLOP formulas of the operators, for `torch.utils.flop_counter`."""

from __future__ import annotations

from typing import Any

import torch

# Operations of Bi-WKV per token and channel, the rule Vision-RWKV counts by; its backward is counted twice.
_BI_WKV = 29


def _bi_wkv(decay: Any, bonus: Any, k: Any, v: torch.Size, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _BI_WKV * v.numel()


def _bi_wkv_backward(*args: Any, **kwargs: Any) -> int:
    return 2 * _bi_wkv(*args, **kwargs)


def register_flop_formulas() -> None:
    """Teaches `FlopCounterMode` to count the operators; call it before counting, as often as you like.

    Not done on import because torch's counter imports Triton.
    """
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    for operator, formula in (
        (torch.ops.linbench.bi_wkv_forward, _bi_wkv),
        (torch.ops.linbench.bi_wkv_backward, _bi_wkv_backward),
    ):
        if operator not in flop_registry:
            register_flop_formula(operator)(formula)
