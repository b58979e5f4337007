"""`bench results`: what the results folder holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from .common import AsJson, Results, open_store

if TYPE_CHECKING:
    from ...results.schema import Row

app = typer.Typer(
    help="List, show, export and tidy the stored rows.",
    epilog="**Example**\n\n`bench results ls --suite latency`   and `--help` after each word for more",
)

Suite = Annotated[str | None, typer.Option("--suite", help="Only of this suite; several by comma, * and ? match.")]
Backbone = Annotated[str | None, typer.Option("--backbone", "-b", help="Only of this backbone, likewise.")]
Status = Annotated[str | None, typer.Option("--status", help="Only of this status (ok, oom, failed, ...), likewise.")]
All = Annotated[bool, typer.Option("--all", help="Also rows that a newer one of the same cell supersedes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


@app.command(
    "ls",
    epilog="**Examples**\n\n`bench results ls`   the newest row of every cell\n\n"
    "`bench results ls --suite latency --backbone 'vit-*' --status oom,failed`   what did not work",
)
def list_rows(
    suite: Suite = None,
    backbone: Backbone = None,
    status: Status = None,
    every: All = False,
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """List rows: suite, backbone, what tells its rows apart, status, key, time, device."""
    from ...results.provenance import device_name
    from ..terminal import show_records

    rows, why_none = _selected(results, suite, backbone, status, every)
    if not rows:
        print(why_none, file=sys.stderr)
        if not as_json:
            return
    apart = _told_apart(rows)
    records = [
        {
            "suite": row.cell.suite,
            "backbone": row.cell.backbone,
            "apart by": apart[row.cell.key],
            "status": row.status,
            "key": row.cell.key,
            "created_utc": row.created_utc if as_json else row.created_utc[:19],
            "device": device_name(row),
            "error": row.error,
        }
        for row in rows
    ]
    show_records(records, as_json)


@app.command("show", epilog="**Example**\n\n`bench results show 4aeba0ee`   one row, by the first digits of its key")
def show_row(
    key: Annotated[str, typer.Argument(help="First digits of the row's key; `bench results ls` lists them.")],
    samples: Annotated[bool, typer.Option("--samples", help="With the raw values behind the metrics.")] = False,
    every: All = False,
    results: Results = None,
) -> None:
    """Show rows whole, as JSON."""
    found = [row for row in _selected(results, None, None, None, every)[0] if row.cell.key.startswith(key)]
    if not found:
        raise UsageError(f"no row's key begins with '{key}'; `bench results ls` lists the keys")
    told = [row.to_dict() if samples else {**row.to_dict(), "samples": sorted(row.samples)} for row in found]
    print(json.dumps(told if len(told) > 1 else told[0], indent=1))


@app.command(
    epilog="**Examples**\n\n`bench results export rows.csv`   flat: params.*, metrics.*, provenance\n\n"
    "`bench results export rows.parquet --suite latency`   for data frames; needs `pip install 'linbench[parquet]'`\n\n"
    "`bench results export rows.json --all`   everything, samples and superseded rows included"
)
def export(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    form: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or json (default: by the file's ending).")
    ] = None,
    suite: Suite = None,
    backbone: Backbone = None,
    status: Status = None,
    every: All = False,
    results: Results = None,
) -> None:
    """Write rows to a file for other programs."""
    from ...results.export import write_export

    rows, why_none = _selected(results, suite, backbone, status, every)
    if not rows:
        raise UsageError(f"nothing to export: {why_none}; `bench results ls` lists the rows")
    write_export(rows, out, form or out.suffix.lstrip(".").lower() or "csv")
    print(f"{len(rows)} rows in {out}")


@app.command(
    epilog="**Examples**\n\n`bench results gc --dry-run`   what would go\n\n"
    "`bench results gc`   remove superseded rows and what no row names"
)
def gc(dry_run: DryRun = False, results: Results = None, as_json: AsJson = False) -> None:
    """Remove rows that newer ones supersede, and samples, pictures and leftovers that no row names."""
    from ...results.garbage import find_garbage, remove

    store = open_store(results)
    found = find_garbage(store)
    if not dry_run:
        remove(found)
    if as_json:
        told = [{"path": str(one.path), "reason": one.reason, "bytes": one.size} for one in found]
        print(json.dumps(told, indent=1))
        return
    for one in found:
        print(f"{one.path.relative_to(store.root)}: {one.reason}")
    done = "would be removed" if dry_run else "removed"
    print(f"{len(found)} files, {sum(one.size for one in found)} bytes {done}")


def _told_apart(rows: Sequence[Row]) -> dict[str, str]:
    """By key, the parameters in which a backbone's rows of one suite differ."""
    from ...results.series import group, split_series

    told: dict[str, str] = {}
    for _, found in group(rows, lambda row: (row.cell.suite, row.cell.backbone)):
        for series in split_series(found, varying=()):
            text = series.label.removeprefix(series.backbone).removeprefix(" (").removesuffix(")")
            told |= {row.cell.key: text for row in series.rows}
    return told


def _selected(
    results: Path | None, suite: str | None, backbone: str | None, status: str | None, every: bool
) -> tuple[list[Row], str]:
    """The rows that fit, and why there are none where there are none."""
    from ...results.export import select_rows, why_none
    from ...results.series import newest

    store = open_store(results)
    rows, problems = store.scan()
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    asked = {"suite": suite, "backbone": backbone, "status": status}
    return select_rows(rows if every else newest(rows), **asked), f"{why_none(rows, **asked)} under {store.root}/runs"
