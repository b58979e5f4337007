"""Intervals as rows store them."""

from __future__ import annotations

from ..schema import Row
from ..series import NUMBERED
from ..statistics import Interval

_LEVEL = 0.95  # of rows that tell none


def metric_interval(row: Row, name: str) -> Interval | None:
    """A metric with its `_low`, `_high` and `_level`; None for a row without numbers."""
    value = row.metrics.get(name)
    if row.status not in NUMBERED or value is None:
        return None
    low, high, level = (row.metrics.get(f"{name}_{part}") for part in ("low", "high", "level"))
    return Interval(
        value, value if low is None else low, value if high is None else high, _LEVEL if level is None else level
    )
