"""Which precision a device trains in."""

from __future__ import annotations

from pathlib import Path

import torch

from .recipes import Precision

CPU_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16")


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; elsewhere PyTorch emulates it, slower than fp32.

    Known only on Linux; other systems count as without.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return False
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        if line.startswith(("flags", "Features")):
            return any(flag in line.split() for flag in CPU_BF16_FLAGS)
    return False


def resolve_precision(wanted: Precision, device: torch.device) -> str:
    """`bf16` or `fp32` for a recipe's precision on a device."""
    if wanted != "auto":
        return wanted
    has_bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16()
    return "bf16" if has_bf16 else "fp32"
