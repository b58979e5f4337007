"""How many exponentials a second a GPU computes, on numbers that stay in registers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

_BLOCK = 1024
_PROGRAMS = 8192
_REPEATS = 256


@triton.jit
def exps_kernel(out, repeats, block: tl.constexpr):
    """`x <- 2 ** -x`, `repeats` times, for every element of `out`."""
    index = tl.program_id(0) * block + tl.arange(0, block)
    x = index.to(tl.float32) * 1e-9
    for _ in range(repeats):
        x = tl.exp2(-x)
    tl.store(out + index, x)


def exps_on_gpu(device: torch.device) -> tuple[Callable[[], None], int]:
    """A call that computes exponentials, and how many."""
    out = torch.empty(_BLOCK * _PROGRAMS, device=device)

    def call() -> None:
        exps_kernel[(_PROGRAMS,)](out, _REPEATS, block=_BLOCK)

    return call, out.numel() * _REPEATS
