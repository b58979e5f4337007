"""Clocks: the duration of one call on the host, on a CUDA stream, or inside a replayed CUDA graph."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch

from ...errors import BackendError
from ..runner.sampling import time_block

_FLUSH_BYTES = 256 * 2**20
_REPLAY_S = 1e-3
_MAX_REPEATS = 50


class Samples(NamedTuple):
    """Durations of single calls in ms; `host_ms` is what issuing each took the host, where that is another thing."""

    ms: list[float]
    host_ms: list[float]


class Clock(Protocol):
    """Times calls, always in the same state of the caches."""

    def once(self) -> float:
        """Seconds of one call."""
        ...

    def block(self, iterations: int) -> Samples:
        """Durations of `iterations` calls."""
        ...


class HostClock:
    """Wall time of a call that returns when its work is done; caches as the call before left them."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def once(self) -> float:
        started = time.perf_counter_ns()
        self._call()
        return (time.perf_counter_ns() - started) / 1e9

    def block(self, iterations: int) -> Samples:
        return Samples([1000 * seconds for seconds in time_block(self.once, iterations)], [])


class EventClock:
    """Device time between two events around a call, after a write that is larger than the L2 cache.

    The write also keeps the device busy while the host issues the call, so that a short kernel's time is its own; a
    call that takes the host longer than the write takes the device shows it in `host_ms`.
    """

    def __init__(self, call: Callable[[], Any], device: torch.device) -> None:
        self._call, self._device = call, device
        cache = int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
        self._flush = torch.empty(max(_FLUSH_BYTES, 2 * cache), dtype=torch.int8, device=device)

    def once(self) -> float:
        return self.block(1).ms[0] / 1000

    def block(self, iterations: int) -> Samples:
        marks = time_block(self._issue, iterations)
        torch.cuda.synchronize(self._device)
        return Samples(
            [before.elapsed_time(after) for before, after, _ in marks], [1000 * host for _, _, host in marks]
        )

    def _issue(self) -> tuple[torch.cuda.Event, torch.cuda.Event, float]:
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_()
        before.record()
        started = time.perf_counter()
        self._call()
        host_s = time.perf_counter() - started
        after.record()
        return before, after, host_s


class GraphClock:
    """Device time of a call as a share of a replayed CUDA graph that holds many; caches as the call before left them.

    Args:
        call: Was called before, on the current stream, so that it is compiled and autotuned.
        device: The current device.
        iteration_s: About what a call takes.

    Raises:
        BackendError: The call cannot be captured.
    """

    def __init__(self, call: Callable[[], Any], device: torch.device, iteration_s: float) -> None:
        self._device = device
        self._repeats = max(1, min(_MAX_REPEATS, math.ceil(_REPLAY_S / iteration_s)))
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream(device)):
                for _ in range(self._repeats):
                    call()
        except RuntimeError as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise BackendError(f"cannot be captured in a CUDA graph: {' '.join(str(error).split())[:200]}") from error

    def once(self) -> float:
        return self.block(1).ms[0] / 1000

    def block(self, iterations: int) -> Samples:
        marks = time_block(self._replay, iterations)
        torch.cuda.synchronize(self._device)
        return Samples([before.elapsed_time(after) / self._repeats for before, after in marks], [])

    def _replay(self) -> tuple[torch.cuda.Event, torch.cuda.Event]:
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        self._graph.replay()
        after.record()
        return before, after
