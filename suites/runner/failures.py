"""What an error of a measurement means: out of memory, not supported, or simply failed. No torch is imported."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import BackendError, UsageError
from ...results.schema import Status

_UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_AMOUNT = r"([\d.]+)\s*(bytes|[kmg]i?b)"
_ASKED = re.compile(rf"(?:tried to allocate|unable to allocate)\s+{_AMOUNT}", re.IGNORECASE)
_FREE = re.compile(rf"of which\s+{_AMOUNT}\s+is free", re.IGNORECASE)
_CPU_ALLOCATOR = re.compile(
    r"defaultcpuallocator|can't allocate memory|cannot allocate memory|std::bad_alloc", re.IGNORECASE
)


class Failure(NamedTuple):
    """How a measurement failed.

    Attributes:
        status: `oom`, `unsupported` or `failed`.
        error: One line for the row.
        asked_bytes: What the failed allocation asked for, if the error says.
        free_bytes: What was free then, if the error says.
    """

    status: Status
    error: str
    asked_bytes: int | None = None
    free_bytes: int | None = None


def describe(error: BaseException) -> Failure:
    """Sort an exception of a worker."""
    text = " ".join(str(error).split()) or type(error).__name__
    if _is_out_of_memory(error, text):
        return Failure("oom", f"out of memory: {text}", _bytes(_ASKED, text), _bytes(_FREE, text))
    if isinstance(error, (UsageError, BackendError, NotImplementedError)):
        return Failure("unsupported", text)
    return Failure("failed", f"{type(error).__name__}: {text}")


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or isinstance(error, MemoryError) or bool(_CPU_ALLOCATOR.search(text))


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(float(found[1]) * _UNITS[found[2].lower()]) if found else None
