"""Rows of the suite `kernels`, from what workers answered. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...results.schema import Cell, Row
from ...results.statistics import median_interval
from ..runner.sampling import Sampling
from ..runner.timed import Metrics, pooled_median, schedule, timed_metrics, timed_samples

_CHECKS = ("error_rms", "error_largest", "tolerance", "agreement")


def checks(prepared: Mapping[str, Any]) -> Metrics:
    """What the comparison with the reference found."""
    return {name: prepared[name] for name in _CHECKS}


def bound_s(rates: Mapping[str, Any]) -> float:
    """Seconds below which no call can stay: the longest of its copying, its arithmetic and its exponentials."""
    times = [
        rates[amount] / rates[rate]
        for amount, rate in (("bytes", "copy_bytes_per_s"), ("flops", "matrix_flops_per_s"), ("exps", "exps_per_s"))
        if rates[rate]
    ]
    return max(times)


def measured_row(
    cell: Cell,
    *,
    facts: Mapping[str, Any],
    prepared: Mapping[str, Any],
    rates: Mapping[str, Any],
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
        rates: The answer to `rates` for this call: its least work and the machine's rates.
        sampling: All blocks, in ms.
        answers: The answers to `block`, in order.
        turns: Round and place in it of each block.
        peers: Implementations that took turns.
    """
    host = [answer["host_ms"] for answer in answers if answer["host_ms"]]
    seconds = median_interval(sampling.blocks).value / 1000
    metrics: Metrics = {
        **timed_metrics("time_ms", sampling, prepared),
        "host_ms": pooled_median(host),
        **checks(prepared),
        "flops": rates["flops"],
        "bytes": rates["bytes"],
        "exps": rates["exps"],
        "gb_per_s": rates["bytes"] / seconds / 1e9,
        "gflops_per_s": rates["flops"] / seconds / 1e9,
        "gexps_per_s": rates["exps"] / seconds / 1e9,
        "bound_ms": 1000 * bound_s(rates),
        "roofline_fraction": bound_s(rates) / seconds,
        "copy_gb_per_s": rates["copy_bytes_per_s"] / 1e9,
        "large_copy_gb_per_s": rates["large_copy_bytes_per_s"] / 1e9,
        "matrix_gflops_per_s": rates["matrix_flops_per_s"] / 1e9,
        "peak_gexps_per_s": rates["exps_per_s"] / 1e9 if rates["exps_per_s"] else None,
    }
    samples = timed_samples("time_ms", sampling, turns)
    told = {**schedule(sampling, prepared, peers), "exps_by": rates["exps_by"]}
    return Row(cell, "ok", metrics, samples, {**facts["provenance"], "schedule": told})


def wrong_row(cell: Cell, prepared: Mapping[str, Any], provenance: Mapping[str, Any]) -> Row:
    """The row of an implementation whose results are wrong: the errors, and no time."""
    return Row(cell, "wrong", checks(prepared), {}, dict(provenance), prepared["wrong"])
