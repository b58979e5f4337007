"""Makes a Python function a torch operator.

`torch.library.custom_op` would do the same, but imports torch's compiler on the first call, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def _refuse(ctx: Any, *grads: Any) -> None:
    raise NotImplementedError("LinBench's operators are differentiable once; the gradient of a gradient was asked for")


def define_operator(
    name: str,
    schema: str,
    function: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    backward: Callable[..., Any] = _refuse,
    setup_context: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Registers `linbench::name` and returns what calls it.

    Args:
        name: Without the namespace.
        schema: Arguments and results in torch's notation; results must not share memory with anything else.
        function: Computes the results; runs below autograd.
        fake: Makes empty tensors like the results, for compilers and shape inference.
        backward: Gradient formula, as `torch.library.register_autograd` takes it; without one, asking for it raises.
        setup_context: What `backward` needs to be saved.
    """
    qualified = f"linbench::{name}"
    torch.library.define(qualified, schema)
    torch.library.impl(qualified, "CompositeExplicitAutograd", function)
    torch.library.register_fake(qualified, fake)
    torch.library.register_autograd(qualified, backward, setup_context=setup_context)
    operator: Callable[..., Any] = getattr(torch.ops.linbench, name).default
    return operator
