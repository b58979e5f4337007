"""The rows of an ablation: of all that were measured, those that differ in the ablated part alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..schema import Row
from ..series import NUMBERED, group

Variants = Mapping[str, tuple[Row, ...]]


def newest_complete(
    rows: Sequence[Row],
    *,
    wanted: Sequence[str],
    variant: Callable[[Row], str],
    ablated: Sequence[str] = (),
    prefer: Callable[[Row], bool] = lambda row: True,
) -> Variants:
    """The rows of one setting: the one that has most of the wanted variants, and of equals the newest.

    Of its seeds those count that every wanted variant has a number for; where there is none, the seed that most have.

    Args:
        rows: Rows of one suite and device.
        wanted: Names of the variants.
        variant: Name of a row's variant; rows of others are left out.
        ablated: Parameters that tell variants apart.
        prefer: What goes before being newer.

    Returns:
        Rows by variant, those without numbers included, in the order of `wanted`; empty without rows.
    """
    fitting = [row for row in rows if variant(row) in wanted]

    def setting(row: Row) -> tuple[Any, ...]:
        fixed = {name: value for name, value in row.cell.params.items() if name not in (*ablated, "seed")}
        return (fixed,)

    settings = [_one_seed_set(members, wanted, variant) for _, members in group(fitting, setting)]
    if not settings:
        return {}

    def rank(members: list[Row]) -> tuple[int, bool, str]:
        numbered = {variant(row) for row in members if row.status in NUMBERED}
        return len(numbered), prefer(members[0]), max(row.created_utc for row in members)

    best = max(settings, key=rank)
    found = {name: tuple(row for row in best if variant(row) == name) for name in wanted}
    return {name: members for name, members in found.items() if members}


def _one_seed_set(rows: Sequence[Row], wanted: Sequence[str], variant: Callable[[Row], str]) -> list[Row]:
    seeds = [(seed, members) for (seed,), members in group(rows, lambda row: (row.cell.params.get("seed"),))]

    def covered(members: Sequence[Row]) -> int:
        return len({variant(row) for row in members if row.status in NUMBERED})

    complete = [row for _, members in seeds if covered(members) == len(wanted) for row in members]
    if complete:
        return complete
    newest = max(seeds, key=lambda one: (covered(one[1]), max(row.created_utc for row in one[1])))
    return newest[1]
