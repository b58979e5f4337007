"""Rows of the latency suite, from what workers answered. Imports neither torch nor a model."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..results.schema import Cell, Row, Status
from ..results.statistics import median_interval, outliers
from .latency_options import PATCH
from .runner.failures import Failure
from .runner.process import WorkerDiedError, WorkerHungError
from .runner.sampling import Sampling

_MIB = 2**20
_FEW = 10


def measured_row(
    cell: Cell,
    *,
    facts: Mapping[str, Any],
    prepared: Mapping[str, Any],
    sampling: Sampling,
    answers: list[dict[str, Any]],
    turns: list[tuple[int, int]],
    peers: list[str],
) -> Row:
    """The row of a cell that was timed.

    Args:
        cell: What was measured.
        facts: The worker's answer to `build`.
        prepared: Its answer to `prepare`.
        sampling: All blocks, in ms.
        answers: The answers to `block`, in order.
        turns: Round and place in it of each block.
        peers: Labels of the subjects that took turns.
    """
    time = median_interval(sampling.blocks)
    pooled = np.concatenate([np.asarray(block) for block in sampling.blocks])
    low, high = np.percentile(pooled, [5, 95])
    last = answers[-1]
    device_blocks = [answer["device_ms"] for answer in answers if answer["device_ms"]]
    metrics: dict[str, float | int | None] = {
        "latency_ms": time.value,
        "latency_ms_low": time.low,
        "latency_ms_high": time.high,
        "latency_ms_level": time.level,
        "latency_ms_p5": float(low),
        "latency_ms_p95": float(high),
        "latency_ms_min": float(pooled.min()),
        "device_ms": float(np.median(np.concatenate(device_blocks))) if device_blocks else None,
        "n": int(pooled.size),
        "rounds": len(sampling.blocks),
        "outliers": outliers(pooled) if pooled.size >= _FEW else None,
        "converged": int(sampling.converged),
        "warmup_stable": None if prepared["warmup_stable"] is None else int(prepared["warmup_stable"]),
        "peak_memory_mib": last["peak_bytes"] / _MIB,
        "weights_mib": facts["weights_bytes"] / _MIB,
        "activations_mib": max(answer["activation_bytes"] for answer in answers) / _MIB,
        "reserved_memory_mib": last["reserved_bytes"] / _MIB if last["reserved_bytes"] is not None else None,
        "tokens": (cell.params["res"] // PATCH) ** 2,
        "first_call_ms": 1000 * prepared["first_call_s"],
        "build_s": facts["build_s"],
        "import_s": facts["import_s"],
        **_rates(prepared, time.value),
    }
    samples: dict[str, list[Any]] = {
        "latency_ms": sampling.blocks,
        "round": [turn for turn, _ in turns],
        "place": [place for _, place in turns],
    }
    if device_blocks:
        samples["device_ms"] = device_blocks
    schedule = {"peers": peers, "iterations": sampling.iterations, "warmup_iterations": prepared["warmup_iterations"]}
    provenance = {**facts["provenance"], "schedule": schedule}
    return Row(cell, "ok", metrics, samples, provenance)


def _rates(prepared: Mapping[str, Any], latency_ms: float) -> dict[str, float | None]:
    matmul = prepared["matmul_flops_per_s"] / 1e9
    macs = prepared["macs"]
    rate = 2 * macs / (latency_ms / 1000) / 1e9 if macs else None
    return {
        "gmacs": macs / 1e9 if macs else None,
        "gflops_per_s": rate,
        "matmul_gflops_per_s": matmul,
        "matmul_fraction": rate / matmul if rate is not None else None,
    }


def failed_row(cell: Cell, failure: Failure, provenance: Mapping[str, Any], stderr_tail: list[str]) -> Row:
    """The row of a cell that gave no time; the end of the worker's output goes to the provenance."""
    amounts = {"asked_mib": failure.asked_bytes, "free_mib": failure.free_bytes}
    metrics: dict[str, float | int | None] = {
        name: value / _MIB for name, value in amounts.items() if value is not None
    }
    told = {**provenance, **({"stderr_tail": stderr_tail} if stderr_tail else {})}
    return Row(cell, failure.status, metrics, {}, told, failure.error)


def skipped_row(cell: Cell, because: Row) -> Row:
    """The row of a cell that is larger than one which ran out of memory or time."""
    size = because.cell.params["res"]
    told = {name: value for name, value in because.provenance.items() if name != "stderr_tail"}
    error = f"not tried: at {size} pixels the same subject ended with '{because.status}' (row {because.cell.key})"
    return Row(cell, "skipped", {}, {}, {**told, "because_of": because.cell.key}, error)


def failure_of(error: WorkerDiedError | WorkerHungError) -> Failure:
    """What the end of a worker means; a kill from outside is most often the kernel's answer to a full memory."""
    status: Status
    if isinstance(error, WorkerHungError):
        status, text = "timeout", f"{error}; the worker was killed"
    elif error.returncode == -signal.SIGKILL:
        status, text = "oom", "the worker was killed (SIGKILL), most likely because the machine's memory was full"
    else:
        status, text = "crash", str(error)
    return Failure(status, text)
