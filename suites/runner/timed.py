"""What every row of timed calls holds: metrics of its blocks, the samples themselves and when they were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...results.statistics import median_interval, outliers
from .sampling import Sampling

Metrics = dict[str, float | int | None]
_FEW = 10
# Below, the bound on the 99th percentile is the largest sample (MLPerf's early stopping).
_ENOUGH_FOR_P99 = 662


def timed_metrics(name: str, sampling: Sampling, prepared: Mapping[str, Any]) -> Metrics:
    """Metrics of all blocks.

    Args:
        name: Of the median in ms; the others' names begin with it.
        sampling: All blocks.
        prepared: The worker's answer to `prepare`.
    """
    time = median_interval(sampling.blocks)
    pooled = np.concatenate([np.asarray(block) for block in sampling.blocks])
    low, high = np.percentile(pooled, [5, 95])
    return {
        name: time.value,
        f"{name}_low": time.low,
        f"{name}_high": time.high,
        f"{name}_level": time.level,
        f"{name}_p5": float(low),
        f"{name}_p95": float(high),
        f"{name}_min": float(pooled.min()),
        **({f"{name}_p99": float(np.percentile(pooled, 99))} if pooled.size >= _ENOUGH_FOR_P99 else {}),
        "n": int(pooled.size),
        "rounds": len(sampling.blocks),
        "outliers": outliers(pooled) if pooled.size >= _FEW else None,
        "converged": int(sampling.converged),
        "warmup_stable": None if prepared["warmup_stable"] is None else int(prepared["warmup_stable"]),
        "first_call_ms": 1000 * prepared["first_call_s"],
    }


def timed_samples(name: str, sampling: Sampling, turns: Sequence[tuple[int, int]]) -> dict[str, list[Any]]:
    """The blocks, with the round and the place in it of each."""
    return {name: sampling.blocks, "round": [turn for turn, _ in turns], "place": [place for _, place in turns]}


def pooled_median(blocks: Sequence[Sequence[float]]) -> float | None:
    """Median of all samples of the blocks; none where there are none."""
    return float(np.median(np.concatenate(blocks))) if blocks else None


def schedule(sampling: Sampling, prepared: Mapping[str, Any], peers: list[str]) -> dict[str, Any]:
    """Who took turns, and how many calls were made at once and before."""
    return {"peers": peers, "iterations": sampling.iterations, "warmup_iterations": prepared["warmup_iterations"]}
