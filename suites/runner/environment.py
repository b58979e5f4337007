"""What a worker process finds in its environment, the same for all subjects of a sweep."""

from __future__ import annotations

import os
import sys

import psutil

# Large activations are otherwise mapped, faulted in page by page and unmapped in every single call.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
RECORDED = (*KEEP_MEMORY, "LD_PRELOAD", "THP_MEM_ALLOC_ENABLE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def worker_environment(threads: int) -> dict[str, str]:
    """Variables of a worker: thread counts, and settings of glibc's malloc that let it keep freed memory.

    A variable of malloc that the user has set stays as it is.
    """
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return counts | _search_path() | {name: os.environ.get(name, value) for name, value in KEEP_MEMORY.items()}


def _search_path() -> dict[str, str]:
    """`PYTHONPATH` with whole paths: a worker may have another working directory, and needs the user's backbones."""
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, parts))} if parts else {}


def recorded_environment() -> dict[str, str]:
    """The variables of this process that decide how memory and threads behave."""
    return {name: os.environ[name] for name in RECORDED if name in os.environ}


def default_threads() -> int:
    """`OMP_NUM_THREADS` where it is set, else the physical cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)
    return min(usable, psutil.cpu_count(logical=False) or usable)
