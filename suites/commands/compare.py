"""`bench compare`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from .common import AsJson, Results, open_store

if TYPE_CHECKING:
    from ...results.comparison.compare import Comparison
    from ...results.comparison.quality import QualityComparison
    from ...results.store import Store

app = typer.Typer()


@app.command(
    epilog="**Examples**\n\n"
    "`bench compare rwkvsam-s vit-s`   at every resolution and on all data that both were measured at\n\n"
    "`bench compare vit-s@attention=sdpa vit-s@attention=eager`   one name, two settings\n\n"
    "`bench compare monday/results tuesday/results`   the same cells in two folders\n\n"
    "`bench compare 81be39d 0bc5015`   the same cells, measured by LinBench at two commits"
)
def compare(
    first: Annotated[
        str,
        typer.Argument(help="Backbone or system, NAME or NAME@param=value,...; a results folder; or a commit."),
    ],
    second: Annotated[str, typer.Argument(help="What to compare it with, likewise.")],
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """Compare stored latencies and scores: what differs, by how much, and whether it is more than chance."""
    times, scores = _compared(open_store(results), first, second)
    if as_json:
        told = [*(one.to_dict() for one in times), *(one.to_dict() for one in scores)]
        print(json.dumps(told, indent=1))
        return
    from ...results.comparison.compare import comparison_table
    from ...results.comparison.quality import quality_table
    from ...results.tabling.tables import to_markdown

    tables = [comparison_table(times, first, second)] if times else []
    print(to_markdown([*tables, *([quality_table(scores, first, second)] if scores else [])]))


def _compared(store: Store, first: str, second: str) -> tuple[list[Comparison], list[QualityComparison]]:
    from ...results.comparison.compare import compare_sets, compare_subjects, why_not_comparable
    from ...results.comparison.quality import quality_of_sets, quality_of_subjects
    from ...results.comparison.sides import find_sides

    sides = find_sides(store, first, second)
    if sides is not None:
        for problem in sides.problems:
            print(f"left out: {problem}", file=sys.stderr)
        times, scores = compare_sets(sides.first, sides.second), quality_of_sets(sides.first, sides.second)
        if not times and not scores:
            why = why_not_comparable(sides.first, sides.second)
            raise UsageError(f"{first} and {second} cannot be compared: {why}; measure the same cells on one device")
        return times, scores
    rows = store.latest()
    scores = quality_of_subjects(rows, first, second)
    try:
        return compare_subjects(rows, first, second), scores
    except UsageError:
        if not scores:
            raise
        return [], scores
