"""Peak memory of one stretch of work: resident pages on the CPU, the caching allocator's on CUDA."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class Peak(NamedTuple):
    """Bytes: the peak of the process, what it held at the start, and what the allocator reserved (CUDA only)."""

    peak: int
    before: int
    reserved: int | None


class MemoryMeter(Protocol):
    """Measures the peak since `start`."""

    def start(self) -> None:
        """Forget earlier peaks, where the system can."""
        ...

    def read(self) -> Peak:
        """The peak since `start`."""
        ...

    def release(self) -> None:
        """Give unused memory back to the system."""
        ...

    def available(self) -> int:
        """Bytes that another process could still have."""
        ...


class HostMeter:
    """Resident memory of this process.

    Elsewhere than on Linux the peak is the process's so far, which is the same as long as the stretches grow.
    """

    def start(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        self._before = psutil.Process().memory_info().rss

    def read(self) -> Peak:
        return Peak(_peak_resident(), self._before, None)

    def release(self) -> None:
        gc.collect()
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)

    def available(self) -> int:
        return int(psutil.virtual_memory().available)


class CudaMeter:
    """Memory that PyTorch's allocator has handed out on one CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def read(self) -> Peak:
        return Peak(
            torch.cuda.max_memory_allocated(self._device), self._before, torch.cuda.max_memory_reserved(self._device)
        )

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()

    def available(self) -> int:
        return int(torch.cuda.mem_get_info(self._device)[0])


def _peak_resident() -> int:
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
