"""What rows of the suite `latency` say: intervals, ratios over shared rounds, the noise floor of their sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..schema import Row
from ..series import NUMBERED, sweep_of
from ..statistics import Interval, paired_ratio, ratio_interval
from .intervals import metric_interval

SUITE = "latency"


def is_timed(row: Row) -> bool:
    """Whether a row is of a model's latency: not of throughput, not of the noise floor, not one of an A/A pair."""
    return row.cell.suite == SUITE and "measure" not in row.cell.params and "twin" not in row.cell.params


def latency_interval(row: Row) -> Interval | None:
    """Median latency in ms with its interval; None for a row without numbers."""
    return metric_interval(row, "latency_ms")


def blocks_by_round(row: Row) -> Mapping[int, list[float]]:
    """The blocks of a row by the round they were measured in."""
    return dict(zip(row.samples.get("round", []), row.samples.get("latency_ms", []), strict=False))


def latency_ratio(above: Row, below: Row) -> tuple[Interval | None, int]:
    """Latency of one row over another's, and the number of rounds that it is paired over.

    It is 0 where the two did not take turns in six rounds or more: then the ratio's interval is the widest that their
    own intervals allow.
    """
    turns = [row.provenance.get("schedule", {}).get("turns") for row in (above, below)]
    if turns[0] is not None and turns[0] == turns[1]:
        ours, theirs = blocks_by_round(above), blocks_by_round(below)
        paired = paired_ratio(ours, theirs)
        if paired is not None:
            return paired, len(ours.keys() & theirs.keys())
    first, second = latency_interval(above), latency_interval(below)
    return (ratio_interval(first, second), 0) if first and second else (None, 0)


def noise_floor(rows: Sequence[Row], among: Sequence[Row]) -> float | None:
    """The largest noise floor, a fraction, of the sweeps that `rows` are from; None where one has none.

    Args:
        rows: Of models.
        among: Rows that those of the sentinels are found in.
    """
    floors = {
        sweep_of(row): row.metrics.get("noise_floor") for row in among if row.cell.params.get("measure") == "noise"
    }
    found = [floors.get(sweep_of(row)) for row in rows if row.status in NUMBERED]
    known = [value for value in found if value is not None]
    return max(known) if known and len(known) == len(found) else None


def noise_note(floor: float | None) -> str:
    """The noise floor as a sentence under tables and figures."""
    if floor is None:
        return "The noise floor was not measured with all of these rows."
    return f"Differences below {100 * floor:.1f} % are noise, by a fixed piece of work timed beside."
