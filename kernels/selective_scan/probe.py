"""Whether mamba-ssm's CUDA kernel works. That the package is installed says nothing: recent ones lack the kernel."""

from __future__ import annotations

import functools
import importlib
import importlib.util

import torch

from ..extension import agree, extension_refusal
from . import reference
from .layout import Inputs, cut

MODULE = "selective_scan_cuda"
_FOUND = importlib.util.find_spec(MODULE) is not None


@functools.cache
def _defect() -> str:
    """Why a small call does not give what the reference gives; empty if it does."""
    try:
        from . import external

        generator = torch.Generator().manual_seed(0)
        u, delta, z = torch.randn(3, 1, 2, 5, generator=generator)
        B, C = torch.randn(2, 1, 1, 3, 5, generator=generator)
        A, rows = -torch.rand(2, 3, generator=generator), torch.rand(2, generator=generator)
        inputs = Inputs(u, delta, A, B, C, rows, z, rows)
        sections = cut(2, 1, (False,))
        moved = Inputs(*(None if x is None else x.cuda() for x in inputs))  # type: ignore[arg-type]
        out, _, saved, ungated = external.forward(moved, True, sections, save=True)
        if saved is None:
            return "a trial call of it keeps no states"
        outer = torch.ones_like(out)
        grads = external.backward(moved, True, sections, saved, ungated, outer)
        right = (
            reference.forward(inputs, True, sections)[0],
            *reference.backward(inputs, True, sections, outer.cpu(), None),
        )
        if not agree((out, *grads), right):
            return "a trial call of it gives wrong results"
    except Exception as error:
        return f"a trial call of {MODULE}, the CUDA extension of mamba-ssm, fails: {type(error).__name__}: {error}"
    return ""


def mamba_refusal(device: str) -> str:
    """Why mamba-ssm's kernel cannot run on a device type; empty if a trial call of it, once, was right."""
    package = f"{MODULE}, the CUDA extension of mamba-ssm,"
    return extension_refusal(device, package, installed=_FOUND, defect=_defect)
