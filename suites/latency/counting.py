"""Multiply-adds of one call, from shapes alone."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from ...errors import UsageError
from .models import Inputs


def count_macs(model: nn.Module, inputs: Inputs, *, whole: bool) -> int | None:
    """Multiply-adds, LinBench's operators included; None for a model that looks at values.

    Args:
        model: What is called.
        inputs: Its arguments.
        whole: Make the call, as decoders need that look whether their prompts lie within the images.

    Raises:
        UsageError: The model cannot serve these shapes.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    from ...kernels import register_flop_formulas

    register_flop_formulas()
    try:
        fake = nullcontext() if whole else FakeTensorMode(allow_non_fake_inputs=True)
        with torch.inference_mode(), fake:
            like = inputs if whole else tuple(torch.empty(x.shape, device=x.device, dtype=x.dtype) for x in inputs)
            with FlopCounterMode(display=False) as counter:
                model(*like)
    except UsageError:
        raise
    except Exception:
        # A model that looks at values has no shape-only form; its rate is unknown, its time is not.
        return None
    return int(counter.get_total_flops()) // 2
