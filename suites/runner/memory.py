"""Peak memory of one stretch of work: resident pages on the CPU, the caching allocator's on CUDA."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
# Parameters of glibc's mallopt.
_M_MMAP_THRESHOLD, _M_MMAP_MAX = -3, -4


class Peak(NamedTuple):
    """Bytes.

    Attributes:
        peak: Most that was in use.
        before: What was held at the start.
        reserved: Most that the allocator held, freed memory included that it keeps for the next call.
    """

    peak: int
    before: int
    reserved: int


class MemoryMeter(Protocol):
    """Measures the peak since `start`."""

    def start(self) -> None:
        """Forget earlier peaks, where the system can."""
        ...

    def counted(self) -> AbstractContextManager[None]:
        """A stretch that decides what was in use where the system only tells what is held."""
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

    A worker's heap keeps what is freed, in pieces of sizes that the next call may not fit. So what a call uses is
    measured in a stretch of its own, in which glibc gives large blocks back at once; elsewhere the two are the same.
    Elsewhere than on Linux the peak is the process's so far, which is the same as long as the stretches grow.
    """

    def start(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        self._before = psutil.Process().memory_info().rss
        self._used: int | None = None

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with _blocks_given_back():
            yield
        self._used = _peak_resident()

    def read(self) -> Peak:
        held = _peak_resident()
        return Peak(held if self._used is None else self._used, self._before, held)

    def release(self) -> None:
        gc.collect()
        trim = _from_libc("malloc_trim")
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

    def counted(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def read(self) -> Peak:
        return Peak(
            torch.cuda.max_memory_allocated(self._device), self._before, torch.cuda.max_memory_reserved(self._device)
        )

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()

    def available(self) -> int:
        return int(torch.cuda.mem_get_info(self._device)[0])


@contextlib.contextmanager
def _blocks_given_back() -> Iterator[None]:
    """Let glibc map each block of a MiB or more on its own and unmap it when freed; then never again, as before.

    A worker starts with no such maps (`environment.KEEP_MEMORY`); where the user has chosen otherwise, nothing changes.
    """
    set_option = _from_libc("mallopt")
    if set_option is None or os.environ.get("MALLOC_MMAP_MAX_") != "0":
        yield
        return
    set_option(_M_MMAP_THRESHOLD, 2**20)
    set_option(_M_MMAP_MAX, 2**16)
    try:
        yield
    finally:
        set_option(_M_MMAP_MAX, 0)


def _from_libc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _peak_resident() -> int:
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
