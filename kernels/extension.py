"""Whether an optional CUDA extension may be trusted: only after a trial call of it agreed with the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def agree(found: Iterable[Tensor | None], right: Iterable[Tensor | None]) -> bool:
    """Whether results of a trial are there and right."""
    return all(
        value is not None and expected is not None and torch.allclose(value.cpu().double(), expected, 1e-3, 1e-3)
        for value, expected in zip(found, right, strict=True)
    )


def extension_refusal(device: str, package: str, *, installed: bool, defect: Callable[[], str]) -> str:
    """Why an extension cannot run on a device type; empty if it can.

    Args:
        device: `cuda`, `cpu`, ...
        package: Its name, in words.
        installed: Whether it is there.
        defect: Makes the trial, once; gives what is wrong.
    """
    if device != "cuda":
        return f"it runs on a GPU, got {device}"
    if not installed:
        return f"{package} is not installed"
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    # A compiler cannot trace the trial; it meets a broken extension when it runs.
    return "" if torch.compiler.is_compiling() else defect()
