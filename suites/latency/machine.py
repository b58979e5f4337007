"""What a worker's machine can do and may use: rate of a plain matrix product, memory limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

_MATMUL_SIDES = {"cpu": (512, 2048), "cuda": (2048, 8192)}
_MATMUL_REPEATS = 4
_SLOW_MATMUL_S = 1.0


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_rate(device: torch.device, dtype: torch.dtype, best: float) -> float:
    """The best rate of a plain matrix product so far, in operations a second: the machine's when undisturbed."""
    small, large = _MATMUL_SIDES[device.type]
    for side in (small, large):
        left, right = (torch.full((side, side), 0.5, device=device, dtype=dtype) for _ in range(2))
        seconds = 0.0
        for _ in range(_MATMUL_REPEATS):
            synchronise(device)
            started = time.perf_counter()
            torch.mm(left, right)
            synchronise(device)
            seconds = time.perf_counter() - started
            best = max(best, 2 * side**3 / seconds)
        # Half precision has no fast product on some CPUs: a full-size one would take minutes.
        if seconds * (large / small) ** 3 > _SLOW_MATMUL_S:
            break
    return best


@contextmanager
def limited(device: torch.device, limit_mib: int | None) -> Iterator[None]:
    """Let this process have `limit_mib` more address space than now, on the CPU; None: as much as there is."""
    if limit_mib is None or device.type == "cuda":
        yield
        return
    import resource

    used = psutil.Process().memory_info().vms
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + limit_mib * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def limit_cuda(device: torch.device, limit_mib: int | None) -> None:
    """Let this process have `limit_mib` more memory of a CUDA device than it holds now."""
    if limit_mib is not None and device.type == "cuda":
        allowed = torch.cuda.memory_allocated(device) + limit_mib * 2**20
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), device)
