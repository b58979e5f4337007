"""Rows of cells that gave no time, and what the end of a worker means."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from ...results.schema import Cell, Row, Status
from .failures import Failure
from .process import WorkerBabbledError, WorkerDiedError, WorkerHungError
from .timed import Metrics

_MIB = 2**20


def failed_row(cell: Cell, failure: Failure, provenance: Mapping[str, Any], stderr_tail: list[str]) -> Row:
    """The row of a cell that gave no time; the end of the worker's output goes to the provenance."""
    amounts = {"asked_mib": failure.asked_bytes, "free_mib": failure.free_bytes}
    metrics: Metrics = {name: value / _MIB for name, value in amounts.items() if value is not None}
    told = {**provenance, **({"stderr_tail": stderr_tail} if stderr_tail else {})}
    return Row(cell, failure.status, metrics, {}, told, failure.error)


def skipped_row(cell: Cell, because: Row) -> Row:
    """The row of a cell that is larger than one which ran out of memory or time."""
    size = because.cell.params["res"]
    told = {name: value for name, value in because.provenance.items() if name != "stderr_tail"}
    error = f"not tried: at {size} pixels the same subject ended with '{because.status}' (row {because.cell.key})"
    return Row(cell, "skipped", {}, {}, {**told, "because_of": because.cell.key}, error)


def failure_of(error: WorkerBabbledError | WorkerDiedError | WorkerHungError) -> Failure:
    """What the end of a worker means; a kill from outside is most often the kernel's answer to a full memory."""
    status: Status
    if isinstance(error, WorkerHungError):
        status, text = "timeout", f"{error}; the worker was killed"
    elif isinstance(error, WorkerBabbledError):
        status, text = "crash", f"{error}; it was killed"
    elif error.returncode == -signal.SIGKILL:
        status, text = "oom", "the worker was killed (SIGKILL), most likely because the machine's memory was full"
    else:
        status, text = "crash", str(error)
    return Failure(status, text)
