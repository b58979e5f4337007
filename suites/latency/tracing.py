"""A trace of some calls by torch's profiler, and its longest operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile

_SHOWN = 30


def trace(step: Callable[[], Any], path: str, *, calls: int, on_cuda: bool) -> list[dict[str, Any]]:
    """Write a Chrome trace of `calls` calls to `path`.

    Returns:
        The operators by their own time, longest first: name, calls and milliseconds in one call of `step`, and the
        share of all operators' time. On CUDA the time is the device's.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities) as profiler:
        for _ in range(calls):
            step()
    profiler.export_chrome_trace(path)
    name = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    events = [(event.key, event.count, getattr(event, name)) for event in profiler.key_averages()]
    whole = sum(spent for _, _, spent in events) or 1.0
    longest = sorted(events, key=lambda event: -event[2])[:_SHOWN]
    return [
        {"operator": key, "calls": count / calls, "ms": spent / calls / 1000, "share": spent / whole}
        for key, count, spent in longest
        if spent
    ]
