"""What a run shows in a terminal: progress, plans, tables. Importing it imports no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..results.schema import Cell, Row
    from ..results.store import Store
    from ..results.tabling.tables import Table
    from .base import Event
    from .latency.profiling import Profile
    from .predict.run import Outcome

FAILURES = ("failed", "crash", "timeout", "wrong")
ROWS_SHOWN = 30
PROFILE_SHOWN = 12
CROWDED = 9


class Ticker:
    """Shows progress on standard error: one line rewritten in a terminal, one line a phase elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.phase = ""

    def __enter__(self) -> Ticker:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def __call__(self, event: Event) -> None:
        text = f"[{event.done}/{event.total}] {event.message}"
        phase = "".join(c for c in event.message if not c.isdigit())
        if self.live:
            sys.stderr.write(f"\r\x1b[K{text}")
            if phase.strip("/") == event.message:
                sys.stderr.write("\n")
        elif phase != self.phase:
            sys.stderr.write(f"{text}\n")
        self.phase = phase
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.live:
            sys.stderr.write("\r\x1b[K")


def show_rows(rows: Sequence[Row], store: Store, as_json: bool) -> bool:
    """Print the rows' table, write the report; whether all went well."""
    from ..results.reporting.report import tables_of, write_report

    if as_json:
        print(json.dumps([{**row.to_dict(), "samples": {}} for row in rows], indent=1))
    else:
        _show_tables(tables_of(rows))
    paths = write_report(store, store.root)
    for row in rows:
        if cut := _cut_short(row):
            print(f"note: {row.cell.backbone}: the recipe's clock ended {cut}", file=sys.stderr)
    for (status, error), names in _troubles(rows).items():
        print(f"{'error' if status in FAILURES else status}: {', '.join(names)}: {error}", file=sys.stderr)
    if not as_json:
        print(f"{len(rows)} rows in {store.root / 'runs'}; {len(paths)} tables and figures in {store.root}")
    return not any(row.status in FAILURES for row in rows)


def _show_tables(tables: Sequence[Table]) -> None:
    """Markdown for a file; for a terminal, which is narrower, what was measured alone."""
    from rich.markup import escape

    from ..results.tabling.best import emphasised
    from ..results.tabling.measured_only import without_published
    from ..results.tabling.tables import to_markdown

    if not sys.stdout.isatty():
        print(to_markdown(tables))
        return
    for table in filter(None, map(without_published, tables)):
        print(f"\n{table.title}\n{table.caption}\n")
        names = [f"{group} {'' if group and name == 'measured' else name}".strip() for group, name in table.columns]
        lines = emphasised(table.columns, table.cells, table.goals, plain=escape, bold="[bold]{}[/bold]".format)
        show_records([dict(zip(names, line, strict=True)) for line in lines], False)
        print("".join(f"\n- {note}" for note in table.notes) + "\n")


def _cut_short(row: Row) -> str:
    """The stages of a training that took fewer steps than their recipe has; empty where there are none."""
    run = row.provenance.get("run") or {}
    recipe, steps = run.get("recipe"), run.get("steps")
    if not isinstance(recipe, dict) or not isinstance(steps, dict):
        return ""
    wanted = {stage: recipe[stage]["steps"] for stage in steps if stage in recipe}
    return ", ".join(
        f"{stage} at step {steps[stage]} of {most}" for stage, most in wanted.items() if steps[stage] < most
    )


def _troubles(rows: Sequence[Row]) -> dict[tuple[str, str | None], list[str]]:
    """Backbones whose rows are not ok, by status and error, so that one fault is told once."""
    troubles: dict[tuple[str, str | None], list[str]] = {}
    for row in rows:
        if row.status not in ("ok", "unstable"):
            names = troubles.setdefault((row.status, row.error), [])
            names += [row.cell.backbone] * (row.cell.backbone not in names)
    return troubles


def show_plan(cells: Sequence[Cell], store: Store, resume: bool, as_json: bool) -> None:
    """Print what would be measured, and what this installation has finished."""
    from .base import finished_rows

    finished = finished_rows(cells, store) if resume else {}
    states = {cell.key: "done" if cell.key in finished else "to do" for cell in cells}
    # A reader is told in short what differs between the cells, a program everything.
    texts = {name: {str(cell.params.get(name)) for cell in cells} for cell in cells for name in cell.params}
    told = [name for name, found in texts.items() if as_json or (len(found) > 1 and len(max(found, key=len)) < 32)]
    records = [
        {
            "suite": cell.suite,
            "backbone": cell.backbone,
            **{name: cell.params.get(name) for name in told},
            "key": cell.key,
            "state": states[cell.key],
        }
        for cell in cells
    ]
    show_records(records, as_json)


def show_predictions(outcome: Outcome, out: Path, as_json: bool) -> None:
    """Print a table of segmented images; name those that were left out."""
    if as_json:
        print(json.dumps({"out": str(out), "images": outcome.rows, "bad": outcome.bad}, indent=1))
    else:
        if outcome.rows:
            show_records(outcome.rows[:ROWS_SHOWN], False)
        rest = len(outcome.rows) - ROWS_SHOWN
        if rest > 0:
            print(f"... and {rest} more")
        print(f"images: {len(outcome.rows)}, masks: {sum(row['masks'] for row in outcome.rows)}, results in {out}")
    for line in outcome.bad:
        print(f"left out: {line}", file=sys.stderr)
    if outcome.unused:
        print(f"note: prompts for what is not among the images: {', '.join(outcome.unused)}", file=sys.stderr)
    if outcome.weights == "demo":
        print("note: the demo weights have seen drawn scenes only, no photographs", file=sys.stderr)


def show_distilled(rows: Sequence[Row], cache: Path) -> None:
    """Print what a distillation came to and where its weights are."""
    from .distill import trained_weights

    for row in rows:
        first, last = row.metrics["mse_first"], row.metrics["mse_last"]
        print(f"{row.cell.params['student']}: mean squared error {first:.4g} -> {last:.4g}", end=" ")
        print(f"in {row.metrics['steps']} steps; weights: {trained_weights(row, cache)}")


def show_announcement(told: dict[str, Any], as_json: bool) -> None:
    """Print what a distillation would do and write, as two columns or as JSON for programs."""
    from .distill.sizes import size_text

    if as_json:
        print(json.dumps(told, indent=1))
        return
    shown = {key: size_text(value) if key.startswith("bytes") else value for key, value in told.items()}
    show_records([{"what": key.removeprefix("bytes "), "found": value} for key, value in shown.items()], False)


def show_profiles(profiles: Sequence[Profile], as_json: bool) -> bool:
    """Print the longest operators of each profile and where its trace is; whether all went well."""
    if as_json:
        print(json.dumps([profile.to_dict() for profile in profiles], indent=1))
    for profile in profiles:
        if profile.error:
            print(f"error: {profile.title}: {profile.error}", file=sys.stderr)
        elif not as_json:
            print(f"\n{profile.title}: {profile.trace}")
            show_records(profile.shown()[:PROFILE_SHOWN], False)
    return not any(profile.error for profile in profiles)


def show_records(records: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print records as a table, or as JSON for programs."""
    if as_json:
        print(json.dumps(list(records), indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    columns = list(dict.fromkeys(key for record in records for key in record))
    # Many columns stand close together, so that they fit a terminal of 100 characters.
    crowded = len(columns) > CROWDED
    table = Table(box=None, pad_edge=False, collapse_padding=crowded)
    for index, column in enumerate(columns):
        table.add_column(column.replace(" ", "\n") if crowded else column, no_wrap=index == 0, overflow="fold")
    for record in records:
        table.add_row(*("" if record.get(key) is None else str(record[key]) for key in columns))
    console.print(table)
