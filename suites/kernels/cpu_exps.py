"""How many exponentials a second the CPU computes, in the kernels' own vectorised form, on numbers that stay in L1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...kernels.compiled import kernel, power32
from ...kernels.threads import parallel_for

_NUMBERS = 2048
_REPEATS = 64


@kernel
def _exps(first: Any, last: Any, x: Any, y: Any, repeats: Any) -> Any:
    for row in range(first, last):
        for _ in range(repeats):
            for i in range(x.shape[1]):
                y[row, i] = power32(x[row, i])


def exps_on_cpu() -> tuple[Callable[[], None], int]:
    """A call that computes exponentials on all threads of torch, and how many."""
    rows = 8 * torch.get_num_threads()
    x = np.linspace(-20, 0, rows * _NUMBERS, dtype=np.float32).reshape(rows, _NUMBERS)
    y = np.empty_like(x)
    return (lambda: parallel_for(_exps, rows, x, y, _REPEATS)), x.size * _REPEATS
