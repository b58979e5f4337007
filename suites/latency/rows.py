"""Rows of the latency suite, from what workers answered. Imports neither torch nor a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...results.schema import Cell, Row
from ...results.statistics import median_interval
from ..runner.health import BlockHealth
from ..runner.sampling import Sampling
from ..runner.subject import Subject
from ..runner.timed import Metrics, pooled_median, schedule, timed_metrics, timed_samples
from .resolutions import PATCH
from .search import Found

_MIB = 2**20
_LEAST_ENERGY_S = 2.0


@dataclass
class Trial:
    """A cell while it is measured.

    Attributes:
        subject: Whose cell.
        cell: What is measured.
        prepared: The worker's answer to `prepare`.
        sampling: All blocks that count, in ms.
        found: The search for the batch, where one was asked for.
        answers: The answers to `block` of the blocks that count, in order.
        turns: Round and place in it of each of them.
        health: What was seen around each of them.
        again: Blocks that were disturbed and measured again: round, durations in ms, and why.
    """

    subject: Subject
    cell: Cell
    prepared: dict[str, Any]
    sampling: Sampling
    found: Found | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple[int, int]] = field(default_factory=list)
    health: list[BlockHealth] = field(default_factory=list)
    again: list[dict[str, Any]] = field(default_factory=list)


def measured_row(trial: Trial, *, peers: list[str], sweep: str, turns: str, health: Mapping[str, Any]) -> Row:
    """The row of a cell that was timed; `unstable` where its warm-up never settled.

    Args:
        trial: What was measured.
        peers: Labels of the subjects that took turns.
        sweep: Name of the sweep.
        turns: Name of the rounds; rows with the same one took turns, so that their rounds are paired.
        health: What is known of the machine.
    """
    cell, prepared, facts = trial.cell, trial.prepared, trial.subject.facts
    last = trial.answers[-1]
    device_blocks = [answer["device_ms"] for answer in trial.answers if answer["device_ms"]]
    metrics: Metrics = {
        **_times(trial),
        "device_ms": pooled_median(device_blocks),
        "peak_memory_mib": last["peak_bytes"] / _MIB,
        "weights_mib": facts["weights_bytes"] / _MIB,
        "activations_mib": max(answer["activation_bytes"] for answer in trial.answers) / _MIB,
        "reserved_memory_mib": last["reserved_bytes"] / _MIB,
        "tokens": (cell.params["res"] // PATCH) ** 2,
        "build_s": facts["build_s"],
        "import_s": facts["import_s"],
        "graph_breaks": prepared["graph_breaks"],
        "gate_rms": facts["gate"]["rms"],
        "marked_blocks": sum(seen.mark is not None for seen in trial.health),
        "repeated_blocks": len(trial.again),
        "energy_j": _energy(trial),
        **_rates(prepared, median_interval(trial.sampling.blocks).value),
    }
    samples = timed_samples("batch_ms" if trial.found else "latency_ms", trial.sampling, trial.turns)
    samples["mark"] = [seen.mark for seen in trial.health]
    if device_blocks:
        samples["device_ms"] = device_blocks
    if trial.again:
        samples["again"] = trial.again
    if any(seen.gpu for seen in trial.health):
        samples["gpu"] = [seen.gpu and seen.gpu._asdict() for seen in trial.health]
    if trial.found is not None:
        samples["tried"] = [list(pair) for pair in trial.found.tried]
    when = {**schedule(trial.sampling, prepared, peers), "sweep": sweep, "turns": turns}
    provenance = {**facts["provenance"], "schedule": when, "gate": facts["gate"], "health": dict(health)}
    return Row(cell, "unstable" if prepared["warmup_stable"] is False else "ok", metrics, samples, provenance)


def _times(trial: Trial) -> Metrics:
    """Of a cell with a batch its latency; of one that looks for the best batch the throughput there."""
    if trial.found is None:
        return timed_metrics("latency_ms", trial.sampling, trial.prepared)
    times = timed_metrics("batch_ms", trial.sampling, trial.prepared)
    batch, images = trial.found.batch, 1000 * trial.found.batch
    time = median_interval(trial.sampling.blocks)
    rates: Metrics = {"images_per_s": images / time.value, "best_batch": batch}
    return {**rates, "images_per_s_low": images / time.high, "images_per_s_high": images / time.low, **times}


def _energy(trial: Trial) -> float | None:
    """Joules an image, from blocks that last long enough for the counter to be read off."""
    spent = [seen.energy_j for seen in trial.health]
    if not spent or trial.sampling.spent_s < _LEAST_ENERGY_S:
        return None
    images = trial.found.batch if trial.found else int(trial.cell.params["batch"])
    calls = trial.sampling.iterations * len(spent)
    joules = [joule for joule in spent if joule is not None]
    return sum(joules) / (calls * images) if len(joules) == len(spent) else None


def _rates(prepared: Mapping[str, Any], call_ms: float) -> Metrics:
    matmul = prepared["matmul_flops_per_s"] / 1e9
    macs = prepared["macs"]
    rate = 2 * macs / (call_ms / 1000) / 1e9 if macs else None
    return {
        "gmacs": macs / 1e9 if macs else None,
        "gflops_per_s": rate,
        "matmul_gflops_per_s": matmul,
        "matmul_fraction": rate / matmul if rate is not None else None,
    }
