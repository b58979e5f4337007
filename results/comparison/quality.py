"""Scores of two systems, folders or commits side by side: what changed, and whether more than chance explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..provenance import device_name
from ..schema import Row, canonical_json
from ..series import NUMBERED, mark, newest
from ..statistics import Interval, mean_interval
from ..tabling.tables import Table

Change = Literal["better", "worse", "tie"]

SUITES = ("sam-hq", "classification", "ade20k")
METRICS = ("miou", "mbiou", "map", "mbap", "top1", "top5", "macc", "aacc")
_CONDITIONS = ("data", "datasets", "dataset_fingerprints", "protocol", "frame", "limit", "boxes", "stage", "seed")
_PERCENT = 100.0
_LEVEL = 0.95


@dataclass(frozen=True)
class QualityComparison:
    """One metric of two rows.

    Attributes:
        title: What both are.
        metric: Its name in the rows, in percent.
        first: Of the first; None where it has no number, and then `first_status` says why.
        second: Likewise.
        difference: The second's minus the first's, with its 95 % interval where there are scores of single images; too
            few of them give an interval of a lower level.
        images: Images (masks) that it is paired over; 0 where the rows hold no scores of single images.
        verdict: What the second is to the first; None where it cannot be told.
    """

    title: str
    metric: str
    first: float | None
    second: float | None
    first_status: str
    second_status: str
    difference: Interval | None
    images: int
    verdict: Change | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "difference": self.difference and self.difference._asdict()}


def compare_quality(first: Row, second: Row, title: str) -> list[QualityComparison]:
    """Every score that one of two rows has; the interval is a bootstrap over the images of both."""
    names = [name for name in {**first.metrics, **second.metrics} if _is_score(name)]
    return [_compared(name, first, second, title) for name in sorted(names, key=lambda name: (name.count("/"), name))]


def quality_of_sets(first: Sequence[Row], second: Sequence[Row]) -> list[QualityComparison]:
    """Compare the cells that two sets of rows both have; on different devices too, which scores hardly depend on."""
    sides = [{row.cell.key: row for row in _scored(rows)} for rows in (first, second)]
    shared = sorted(sides[0].keys() & sides[1].keys(), key=lambda key: (sides[0][key].cell.backbone, key))
    return [one for key in shared for one in compare_quality(sides[0][key], sides[1][key], _title(sides[0][key]))]


def quality_of_subjects(rows: Sequence[Row], first: str, second: str) -> list[QualityComparison]:
    """Compare two systems wherever they were scored on the same data in the same way, with the same seed.

    Args:
        rows: Of any suite.
        first: Name in the rows, what follows an `@` passed over.
        second: Likewise.
    """
    names = [text.partition("@")[0] for text in (first, second)]
    found: list[dict[str, Row]] = [
        {_conditions(row): row for row in _scored(rows) if row.cell.backbone == name} for name in names
    ]
    shared = sorted(found[0].keys() & found[1].keys()) if names[0] != names[1] else []
    return [one for key in shared for one in compare_quality(found[0][key], found[1][key], _where(found[0][key]))]


def quality_table(compared: Sequence[QualityComparison], first: str, second: str) -> Table:
    """The comparisons, one line each."""
    import pandas as pd

    cells = tuple(
        (
            one.title,
            one.metric,
            _score(one.first, one.first_status),
            _score(one.second, one.second_status),
            _difference(one),
            str(one.images) if one.images else "-",
            one.verdict or "-",
        )
        for one in compared
    )
    return Table(
        f"{first} against {second}: scores",
        "In percent.",
        (
            ("", "subject"),
            ("", "score"),
            ("", first),
            ("", second),
            ("", "difference"),
            ("", "images"),
            ("", "verdict"),
        ),
        cells,
        pd.DataFrame([one.to_dict() for one in compared], dtype=object),
        (
            f"difference: {second} minus {first}, with the 95 % interval of a bootstrap over the images both scored.",
            f"verdict: what {second} is to {first}; tie: the interval holds 0; -: scores of too few single images.",
        ),
    )


def _is_score(name: str) -> bool:
    return name.rpartition("/")[2] in METRICS


def _scored(rows: Sequence[Row]) -> list[Row]:
    return [row for row in newest(rows) if row.cell.suite in SUITES]


def _compared(metric: str, first: Row, second: Row, title: str) -> QualityComparison:
    values = [row.metrics.get(metric) if row.status in NUMBERED else None for row in (first, second)]
    ours, theirs = values
    interval, images = None, 0
    if ours is not None and theirs is not None:
        pairs = _paired(metric, first, second)
        images = len(pairs)
        interval = mean_interval(pairs) if images else Interval(theirs - ours, theirs - ours, theirs - ours, 0.0)
    said = _verdict(interval) if interval and interval.level >= _LEVEL else None
    return QualityComparison(title, metric, ours, theirs, first.status, second.status, interval, images, said)


def _verdict(difference: Interval) -> Change:
    if difference.low <= 0.0 <= difference.high:
        return "tie"
    return "better" if difference.low > 0.0 else "worse"


def _paired(metric: str, first: Row, second: Row) -> NDArray[np.float64]:
    """Differences in percent over the images that both rows hold scores of; empty where there are none."""
    ours, theirs = (_by_image(metric, row.samples) for row in (first, second))
    shared = sorted(ours.keys() & theirs.keys())
    return np.array([_PERCENT * (theirs[key] - ours[key]) for key in shared], np.float64)


def _by_image(metric: str, samples: Mapping[str, list[Any]]) -> dict[tuple[str, str, int], float]:
    """Scores by set, image and number of the mask in it: `<set>/iou` are those behind `<set>/miou`."""
    prefix, _, name = metric.rpartition("/")
    scores = name.removeprefix("m")
    sets = [prefix] if prefix else [key.removesuffix("/names") for key in samples if key.endswith("/names")]
    found: dict[tuple[str, str, int], float] = {}
    for one in sets:
        names, values = samples.get(f"{one}/names", []), samples.get(f"{one}/{scores}", [])
        seen: dict[str, int] = {}
        for image, value in zip(names, values, strict=False):
            seen[image] = seen.get(image, -1) + 1
            if value is not None:
                found[one, str(image), seen[image]] = float(value)
    return found


def _conditions(row: Row) -> str:
    params = row.cell.params
    return canonical_json([row.cell.suite, device_name(row), {name: params.get(name) for name in _CONDITIONS}])


def _title(row: Row) -> str:
    return f"{row.cell.backbone}, {_where(row)}"


def _where(row: Row) -> str:
    params = row.cell.params
    facts = [str(params[name]) for name in ("data", "stage") if params.get(name) is not None]
    return ", ".join([row.cell.suite, *facts, *([f"seed {params['seed']}"] if params.get("seed") is not None else [])])


def _score(value: float | None, status: str) -> str:
    return mark(status) if value is None and status not in NUMBERED else "-" if value is None else f"{value:.2f}"


def _difference(one: QualityComparison) -> str:
    if one.difference is None:
        return "-"
    known = one.difference.level >= _LEVEL
    interval = f" [{one.difference.low:+.2f}, {one.difference.high:+.2f}]" if known else ""
    return f"{one.difference.value:+.2f}{interval}"
