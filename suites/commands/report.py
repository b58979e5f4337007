"""`bench report`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import LinBenchError, UsageError
from .common import AsJson, Results, open_store

if TYPE_CHECKING:
    from ...results.reporting.report import Report, ReportOptions
    from ...results.store import Store

app = typer.Typer()


@app.command(
    epilog="**Examples**\n\n"
    "`bench report`   all tables and figures\n\n"
    "`bench report --table 3`   one table, also shown\n\n"
    "`bench report --no-published`   measured numbers only\n\n"
    "`bench report --html`   `report.html` too: one page to explore everything in a browser\n\n"
    "`bench report --check`   are the tables and figures here those that the rows make? For a paper's CI"
)
def report(
    table: Annotated[
        str | None, typer.Option(help="Only this one: a number of the paper's (3), latency or kernels.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published/--no-published", help="Published numbers beside the measured ones.")
    ] = True,
    mix_devices: Annotated[
        bool, typer.Option("--mix-devices", help="Rows of several devices in one table, each told by a number.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 where a table or figure is not what rows make.")
    ] = False,
    html: Annotated[
        bool, typer.Option("--html", help="Also write report.html: sortable tables, charts, gallery, in one file.")
    ] = False,
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """Write tables and figures from the stored rows, paper values beside measured ones."""
    from ...results.reporting.report import ReportOptions, make_report

    store = open_store(results)
    options = ReportOptions(published=published, mix_devices=mix_devices)
    if check:
        if table is not None or html:
            raise UsageError("--check compares the whole report and writes nothing; leave --table and --html out")
        _check(store, options, as_json)
        return
    if html and table is not None:
        raise UsageError("--html shows the whole report; leave --table out")
    made = make_report(store, store.root, options, only=table)
    for problem in made.problems:
        print(f"left out: {problem}", file=sys.stderr)
    if not made.paths:
        from ...results.reporting.what_to_run import how_to_make

        what = f"table {table}" if table else "table 3"
        raise UsageError(
            f"no rows{f' of {what}' if table else ''} under {store.root}/runs; measure first, for example with "
            f"{how_to_make(what)}"
        )
    if html:
        from ...results.html import write_page

        tables = [one for found in made.tables.values() for one in found]
        made.paths.append(write_page(made.rows, tables, store.root, problems=made.problems))
    _show(made, table, as_json)


def _show(made: Report, table: str | None, as_json: bool) -> None:
    from ...results.reporting.what_to_run import how_to_make
    from ...results.tabling.tables import to_markdown

    if as_json:
        print(json.dumps([str(path) for path in made.paths]))
        return
    shown = [to_markdown(made.tables[table])] if table else []
    print("\n".join([*shown, *map(str, made.paths)]))
    for what in made.missing:
        print(f"no rows for {what}; measure them with {how_to_make(what)}", file=sys.stderr)


def _check(store: Store, options: ReportOptions, as_json: bool) -> None:
    from ...results.reporting.check import check_report

    if not any((store.root / "runs").rglob("*.json")):
        raise UsageError(f"no rows under {store.root}/runs, so there is nothing to check; name the folder by --results")
    faults, problems = check_report(store, store.root, options)
    if as_json:
        print(json.dumps({"faults": faults, "left_out": problems}, indent=1))
    else:
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
        for fault in faults:
            print(fault)
    if faults:
        raise LinBenchError(f"{len(faults)} tables or figures are not what the rows make; `bench report` makes them")
    if not as_json:
        print(f"all tables and figures under {store.root} are what the rows make")
