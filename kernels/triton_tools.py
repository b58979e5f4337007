"""Where Triton kernels can run, and how an operator lists its Triton backend. Imports no Triton.

A `triton.py` is imported by its operator on the first call only. With `TRITON_INTERPRET=1`, set before Python starts,
Triton interprets its kernels on CPU tensors, which is how they are tested without a GPU.
"""

from __future__ import annotations

import importlib.util
import os

import torch

from .registry import Backend

# Triton reads the variable when its kernels are defined, so a later change has no effect there either.
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")
OLDEST_CAPABILITY = (8, 0)
# Said in every launch: Triton's default for fused multiply-adds depends on its version and the environment.
LAUNCH_OPTIONS = {"enable_fp_fusion": True}

_INSTALLED = importlib.util.find_spec("triton") is not None


def triton_refusal(device: str) -> str:
    """Why Triton cannot run kernels on tensors of a device type (`cuda`, `cpu`) here; empty if it can."""
    if not _INSTALLED:
        return "the Python package triton is not installed (it comes with torch on Linux)"
    if device != "cuda":
        return "" if INTERPRETED else "Triton runs on a GPU, and on CPU tensors only when TRITON_INTERPRET=1 is set"
    if INTERPRETED:
        return "TRITON_INTERPRET=1 is set: Triton interprets its kernels on CPU tensors, for tests"
    return _gpu_refusal()


def _gpu_refusal() -> str:
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    # A compiler follows this for tensors on a GPU, but cannot ask for its capability.
    if torch.compiler.is_compiling():
        return ""
    capability = torch.cuda.get_device_capability()
    if torch.version.hip is None and capability < OLDEST_CAPABILITY:
        oldest = ".".join(map(str, OLDEST_CAPABILITY))
        return f"the GPU has compute capability {'.'.join(map(str, capability))}, the kernels need {oldest}"
    return ""


def triton_backend(
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16),
    conventions: tuple[str, ...] = ("paper",),
) -> Backend:
    """The `triton` backend of an operator; list it behind `cpu`, so that the interpreter serves forced calls only."""
    return Backend(
        "triton", devices=("cuda", "cpu"), dtypes=dtypes, conventions=conventions, unavailable=triton_refusal
    )
