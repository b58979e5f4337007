"""`bench doctor`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ...errors import LinBenchError
from .common import AsJson, Cache, Data, Results

app = typer.Typer()


@app.command(
    epilog="**Examples**\n\n`bench doctor`   everything\n\n`bench doctor --data /datasets`   with your data sets\n\n"
    "`bench doctor --brief`   only what stops the default commands\n\n`bench doctor --json`   for programs"
)
def doctor(
    brief: Annotated[bool, typer.Option("--brief", help="Show only whether the default commands work.")] = False,
    as_json: AsJson = False,
    results: Results = None,
    data: Data = None,
    cache: Cache = None,
) -> None:
    """Say what works here, why not where it does not, and the one command that mends it."""
    from ..doctor import diagnose
    from ..doctor.findings import filled, grouped
    from ..terminal import show_records

    found = diagnose(
        results=results, data=data, cache=cache, progress=lambda what: print(f"{what} ...", file=sys.stderr)
    )
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        for title, records in {} if brief else found.sections.items():
            print(f"\n{title}")
            show_records(filled(grouped(records, "backbone") if title == "Backbones" else records), False)
        print("\nDefault commands")
        show_records(filled(found.commands()), False)
        for fault in found.faults:
            print(f"\n- {fault.what}\n  to mend it: {fault.mend}")
    if found.faults:
        first = found.faults[0]
        more = f" (and {len(found.faults) - 1} more)" if len(found.faults) > 1 else ""
        raise LinBenchError(f"a default command would fail: {first}{more}")
