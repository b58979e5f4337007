"""Two subjects, or two results folders, side by side: paired ratios of latency, and who is faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import UsageError
from ..provenance import device_name
from ..schema import Row, canonical_json
from ..series import mark, newest
from ..statistics import Interval, Verdict, verdict
from ..tabling.latency import significant
from ..tabling.latency_values import SUITE, latency_interval, latency_ratio
from ..tabling.tables import Table

# What tells subjects apart rather than the conditions they are measured under.
_OF_SUBJECTS = ("attention", "kernels")
_AS_FIRST = {"tf32": False, "prompts": None}


@dataclass(frozen=True)
class Comparison:
    """Two rows that may be compared.

    Attributes:
        title: What both are.
        res: Image side in pixels.
        first: Latency of the first in ms; None where it has no number, and then `first_status` says why.
        second: Likewise.
        ratio: The second's latency over the first's: above 1 the first is faster.
        rounds: Rounds that both took part in; 0 where the ratio is that of the two intervals.
        verdict: `faster`, `slower` or `tie`, of the first.
    """

    title: str
    res: int
    first: Interval | None
    second: Interval | None
    first_status: str
    second_status: str
    ratio: Interval | None
    rounds: int
    verdict: Verdict | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        intervals = {name: getattr(self, name) for name in ("first", "second", "ratio")}
        return {**asdict(self), **{name: one and one._asdict() for name, one in intervals.items()}}


def compare_rows(first: Row, second: Row, title: str) -> Comparison:
    """Ratio of two rows: over the rounds that both took part in, else of their intervals, which is more cautious."""
    ours, theirs = latency_interval(first), latency_interval(second)
    ratio, rounds = None, 0
    if ours and theirs:
        ratio, rounds = latency_ratio(second, first)
    return Comparison(
        title,
        int(first.cell.params["res"]),
        ours,
        theirs,
        first.status,
        second.status,
        ratio,
        rounds,
        verdict(ratio) if ratio else None,
    )


def compare_subjects(rows: Sequence[Row], first: str, second: str) -> list[Comparison]:
    """Compare two subjects at every resolution and setting that both were measured at.

    Args:
        rows: Rows of the suite `latency`.
        first: `NAME` or `NAME@param=value,...`, the parameters of cells narrowing it down. What both name may differ;
            else only attention and kernels may.
        second: Likewise.

    Raises:
        UsageError: No rows of one of them, several subjects under one name, or nothing measured alike.
    """
    sides = [_select(rows, text) for text in (first, second)]
    asked = set(_parse(first)[1]) & set(_parse(second)[1])
    indexed = [_by_conditions(found, text, asked) for found, text in zip(sides, (first, second), strict=True)]
    shared = [key for key in indexed[0] if key in indexed[1]]
    if not shared:
        raise UsageError(f"{first} and {second} cannot be compared: {_difference(sides[0], sides[1], asked)}")
    pairs = [(indexed[0][key], indexed[1][key]) for key in shared]
    pairs.sort(key=lambda pair: (_conditions(pair[0], asked), pair[0].cell.params["res"]))
    several = len({_conditions(one, asked) for one, _ in pairs}) > 1
    return [compare_rows(one, other, _settings(one) if several else "") for one, other in pairs]


def compare_sets(first: Sequence[Row], second: Sequence[Row]) -> list[Comparison]:
    """Compare the latencies of cells that two sets of rows both have, measured on one kind of device.

    None are shared where the list is empty; `why_not_comparable` then says why.
    """
    cells = [{(row.cell.key, device_name(row)): row for row in _timed(side)} for side in (first, second)]
    pairs = [(cells[0][key], cells[1][key]) for key in cells[0] if key in cells[1]]
    pairs.sort(key=lambda pair: (pair[0].cell.backbone, _settings(pair[0]), pair[0].cell.params["res"]))
    return [compare_rows(one, other, f"{one.cell.backbone}, {_settings(one)}") for one, other in pairs]


def why_not_comparable(first: Sequence[Row], second: Sequence[Row]) -> str:
    """Why two sets of rows share no cell, in words."""
    if not (first and second):
        return f"{'the second' if first else 'the first'} has no rows"
    alike = {row.cell.key for row in first} & {row.cell.key for row in second}
    devices = [", ".join(sorted({device_name(row) for row in side})) for side in (first, second)]
    return f"devices are {devices[0]} and {devices[1]}" if alike else "no cell is in both"


def comparison_table(compared: Sequence[Comparison], first: str, second: str) -> Table:
    """The comparisons, one line each."""
    import pandas as pd

    titled = any(one.title for one in compared)
    columns = [*([("", "subject")] if titled else []), ("", "resolution")]
    columns += [("latency (ms)", first), ("latency (ms)", second), ("", "ratio"), ("", "rounds"), ("", "verdict")]
    cells = tuple(
        (
            *([one.title] if titled else []),
            str(one.res),
            _time(one.first, one.first_status),
            _time(one.second, one.second_status),
            "-" if one.ratio is None else f"{one.ratio.value:.3f} [{one.ratio.low:.3f}, {one.ratio.high:.3f}]",
            str(one.rounds) if one.rounds else "-",
            one.verdict or "-",
        )
        for one in compared
    )
    notes = [
        f"ratio: latency of {second} over that of {first}, with its 95 % interval; above 1 {first} is faster.",
        "verdict: of the first; a tie where the interval holds 1.",
    ]
    if any(one.ratio and not one.rounds for one in compared):
        notes.append("rounds -: the two took no turns together (or in fewer than six rounds), so that the interval is")
        notes[-1] += " the widest that their own allow."
    frame = pd.DataFrame([one.to_dict() for one in compared], dtype=object)
    return Table(
        f"{first} against {second}",
        "Median latency with its 95 % interval.",
        tuple(columns),
        cells,
        frame,
        tuple(notes),
    )


def _time(time: Interval | None, status: str) -> str:
    return (
        mark(status)
        if time is None
        else f"{significant(time.value)} [{significant(time.low)}, {significant(time.high)}]"
    )


def _timed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in newest(rows) if row.cell.suite == SUITE and "measure" not in row.cell.params]


def _parse(text: str) -> tuple[str, dict[str, str]]:
    name, _, rest = text.partition("@")
    parts = [part.partition("=") for part in rest.split(",") if part]
    if not name or any(not key or not value for key, _, value in parts):
        raise UsageError(
            f"'{text}' cannot be read; expected NAME or NAME@param=value,... (vit-s@attention=eager,res=1024)"
        )
    return name, {key.strip(): value.strip() for key, _, value in parts}


def _select(rows: Sequence[Row], text: str) -> list[Row]:
    name, wanted = _parse(text)
    there = _timed(rows)
    named = [row for row in there if row.cell.backbone == name and ("twin" in wanted or "twin" not in row.cell.params)]
    if not named:
        known = ", ".join(sorted({row.cell.backbone for row in there})) or "none"
        raise UsageError(f"no latency rows of '{name}'; measured are: {known}. Run `bench latency -b {name}` first")
    found = [row for row in named if all(_text(row.cell.params.get(key)) == value for key, value in wanted.items())]
    if not found:
        choices = {key: sorted({_text(row.cell.params.get(key)) for row in named}) for key in wanted}
        told = "; ".join(f"{key} is {' or '.join(values)}" for key, values in choices.items())
        raise UsageError(f"no latency rows of '{text}'; of {name} {told}")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _given(row: Row, asked: set[str]) -> dict[str, Any]:
    params = {**_AS_FIRST, **row.cell.params}
    return {name: value for name, value in params.items() if name not in (*_OF_SUBJECTS, *asked)}


def _conditions(row: Row, asked: set[str]) -> str:
    return canonical_json({k: v for k, v in _given(row, asked).items() if k != "res"} | {"on": device_name(row)})


def _by_conditions(rows: Sequence[Row], text: str, asked: set[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        key = canonical_json([_conditions(row, asked), row.cell.params["res"]])
        other = found.setdefault(key, row)
        if other.cell.key != row.cell.key:
            params = row.cell.params
            name = next(name for name in params if other.cell.params.get(name) != params[name])
            values = [_text(one.cell.params.get(name)) for one in (other, row)]
            raise UsageError(
                f"'{text}' is several subjects; choose one, for example {_parse(text)[0]}@{name}={values[0]} "
                f"(there is {name}={values[1]} too)"
            )
    return found


def _difference(first: Sequence[Row], second: Sequence[Row], asked: set[str]) -> str:
    """Which condition never agrees, in words."""
    sides = [[{**_given(row, asked), "device": device_name(row)} for row in side] for side in (first, second)]
    for name in sorted(
        {name for side in sides for params in side for name in params}, key=lambda n: (n != "device", n)
    ):
        values = [sorted({_text(params.get(name)) for params in side}) for side in sides]
        if not set(values[0]) & set(values[1]):
            ours, theirs = (" or ".join(found) for found in values)
            return f"{name} is {ours} for one, {theirs} for the other; measure both alike"
    return "no resolution was measured under the same conditions for both; measure them in one `bench latency`"


def _settings(row: Row) -> str:
    params = row.cell.params
    plain = {"compile": "none", "channels_last": True, "tf32": False}
    told = [str(params.get(name)) for name in ("stage", "dtype")] + [f"batch {params.get('batch')}"]
    told += [
        f"{name}={_text(params[name])}" for name in ("attention", "prompts", "twin") if params.get(name) is not None
    ]
    told += [f"{name}={_text(params[name])}" for name in plain if params.get(name, plain[name]) != plain[name]]
    return ", ".join([*told, device_name(row)])
