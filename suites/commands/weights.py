"""`bench weights`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import WeightsError
from .common import AsJson, Cache

app = typer.Typer(help="List, get and check official checkpoints.")


@app.command("list", epilog="**Examples**\n\n`bench weights list`\n\n`bench weights list 'vmamba-*' --json`")
def weights_list(
    pattern: Annotated[str, typer.Argument(help="Names to show, as a shell pattern.")] = "*",
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """List the official checkpoints: for what, which file, licence, hash, whether it is here."""
    from .. import weights
    from ..terminal import show_records

    records = weights.list_weights(pattern, cache=cache)
    show_records(records if as_json else weights.shown(records), as_json)
    if not as_json:
        print("\n" + "\n".join(weights.notes()))


@app.command("get", epilog="**Examples**\n\n`bench weights get vit-s vmamba-s`\n\n`bench weights get vrwkv-l:in22k`")
def weights_get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones, systems or `<name>:<tag>`.")],
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Download official checkpoints, going on where an earlier download broke off, and verify them."""
    from ...backbones.weight_files import find_checkpoint, obtain

    found = [find_checkpoint(name) for name in names]
    paths = {checkpoint.name: str(obtain(checkpoint, cache=cache)) for checkpoint in found}
    print(json.dumps(paths, indent=1) if as_json else "\n".join(paths.values()))


@app.command(
    "check",
    epilog="**Examples**\n\n`bench weights check`   every file in the cache\n\n"
    "`bench weights check vit-s`   one of them\n\n`bench weights check vit-s mine.pth`   a file of yours",
)
def weights_check(
    name: Annotated[str | None, typer.Argument(help="Backbone, system or `<name>:<tag>` (default: all here).")] = None,
    file: Annotated[Path | None, typer.Argument(help="File to check as that (default: the one in the cache).")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Check files: hash, that they load with no key missing or unexpected, that all values are finite."""
    from ..terminal import show_records
    from ..weights import check_weights

    records = check_weights(name, file, cache=cache)
    if not records and not as_json:
        print("no weights here; `bench weights get NAME` gets some")
        return
    hidden = () if as_json else ("sha256", "fault")
    show_records([{k: v for k, v in record.items() if k not in hidden} for record in records], as_json)
    faults = [f"{record['name']}: {record['fault']}" for record in records if record["fault"]]
    if faults:
        raise WeightsError("; ".join(faults))
