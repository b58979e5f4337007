"""What the machine can do at best, measured on the spot: bytes copied, matrix products and exponentials a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .clocks import Clock, EventClock, GraphClock, HostClock

# Far larger than any cache.
_LARGE_BYTES = {"cpu": 2**29, "cuda": 2**31}
_MATRIX_SIDES = {"cpu": (256, 1024), "cuda": (2048, 8192)}
_SLOW_MATRIX_S = 0.5
_LEAST_CALLS, _MOST_CALLS, _ENOUGH_S = 5, 100, 0.05


class Rates:
    """The best rates seen so far on one device: what it does when nothing disturbs it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._best: dict[tuple[Any, ...], float] = {}
        self._large: tuple[Tensor, Tensor] | None = None

    def measure(self, dtype: torch.dtype, *, launch: str, work_bytes: int) -> dict[str, Any]:
        """Measure again and keep the better.

        Args:
            dtype: Storage type of the operator; the matrix rate is the better of this type's and float32's.
            launch: `graph` times the copy of `work_bytes` in the caches' warm state, as that clock does.
            work_bytes: Bytes that the operator moves; the copy rate is the better of a copy of as many and a large one.
        """
        threads = torch.get_num_threads()
        large = _LARGE_BYTES[self._device.type]
        # Kept, since getting half a GiB from the system takes longer than copying it.
        self._large = self._large or self._buffers(large)
        copies = [self._copy(self._large, "eager")]
        if work_bytes < large:
            copies.append(self._copy(self._buffers(work_bytes), launch))
        products = {self._matrix(kind, threads) for kind in (torch.float32, dtype)}
        probe, exps = self._exps(threads)
        return {
            "copy_bytes_per_s": max(copies),
            "large_copy_bytes_per_s": copies[0],
            "matrix_flops_per_s": max(products),
            "exps_per_s": exps,
            "exps_by": probe,
        }

    def _buffers(self, traffic: int) -> tuple[Tensor, Tensor]:
        source, target = (torch.ones(max(1, traffic // 8), device=self._device) for _ in range(2))
        return source, target

    def _copy(self, buffers: tuple[Tensor, Tensor], launch: str) -> float:
        source, target = buffers
        key = ("copy", source.numel(), launch, torch.get_num_threads())
        return self._keep(key, partial(target.copy_, source), 2 * source.nbytes, launch)

    def _matrix(self, dtype: torch.dtype, threads: int) -> float:
        best = 0.0
        for side in _MATRIX_SIDES[self._device.type]:
            # Half precision has no fast product on some CPUs: a full-size one would take minutes.
            if best and 2 * side**3 / best > _SLOW_MATRIX_S:
                break
            left, right = (torch.full((side, side), 0.5, device=self._device, dtype=dtype) for _ in range(2))
            key = ("matrix", str(dtype), side, threads)
            best = max(best, self._keep(key, partial(torch.mm, left, right), 2 * side**3, "eager"))
        return best

    def _exps(self, threads: int) -> tuple[str, float | None]:
        if self._device.type == "cpu":
            from .cpu_exps import exps_on_cpu

            probe, (call, count) = "numba", exps_on_cpu()
        else:
            try:
                from .triton_exps import exps_on_gpu
            except ImportError as error:
                return f"not measured: {error}", None
            probe, (call, count) = "triton", exps_on_gpu(self._device)
        return probe, self._keep(("exps", threads), call, count, "eager")

    def _keep(self, key: tuple[Any, ...], call: Callable[[], Any], amount: int, launch: str) -> float:
        call()
        clock = self._clock(call, launch)
        fastest, spent, calls = float("inf"), 0.0, 0
        while calls < _LEAST_CALLS or (spent < _ENOUGH_S and calls < _MOST_CALLS):
            seconds = clock.once()
            fastest, spent, calls = min(fastest, seconds), spent + seconds, calls + 1
        self._best[key] = max(self._best.get(key, 0.0), amount / fastest)
        return self._best[key]

    def _clock(self, call: Callable[[], Any], launch: str) -> Clock:
        if self._device.type == "cpu":
            return HostClock(call)
        if launch == "graph":
            return GraphClock(call, self._device, EventClock(call, self._device).once())
        return EventClock(call, self._device)
