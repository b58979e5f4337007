"""`bench data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import DataError
from .common import AsJson, Seed

app = typer.Typer(help="Draw the demo data; check data sets.")


@app.command("demo", epilog="**Example**\n\n`bench data demo --train-images 4000`")
def data_demo(
    root: Annotated[Path | None, typer.Argument(help="Folder to fill (default: in the cache).")] = None,
    seed: Seed = 0,
    train_images: Annotated[int | None, typer.Option(min=1, help="Training images (default: 600).")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core).")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the demo data: procedural scenes with exact masks, in the real data sets' layouts."""
    from ..base import Event
    from ..data.demo.build import build_demo
    from ..data.demo.imagenet import FOLDER, build_imagenet_demo
    from ..terminal import Ticker

    with Ticker() as ticker:
        path = build_demo(
            root,
            seed=seed,
            train_images=train_images,
            workers=workers,
            progress=lambda done, total: ticker(Event(done, total, f"drawing demo data {done}/{total}")),
        )
        classes = build_imagenet_demo(
            None if root is None else path / FOLDER,
            seed=seed,
            progress=lambda done, total: ticker(Event(done, total, f"drawing demo data {done}/{total}")),
        )
    if as_json:
        print(json.dumps({"root": str(path), FOLDER: str(classes)}))
    else:
        print(path if root is not None else f"{path}\n{classes}")


@app.command("check", epilog="**Example**\n\n`bench data check dis-vd --data /datasets`")
def data_check(
    name: Annotated[str, typer.Argument(help="Data set; `bench list datasets`.")],
    data: Annotated[
        Path | None, typer.Option("--data", envvar="LINBENCH_DATA", help="Root of the data sets, or of demo data.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Hash every file for the fingerprint, not a sample.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a data set is whole: folders, counts, sizes, unreadable files. Every image is read."""
    from ... import settings
    from ..data.checks import check_dataset
    from ..terminal import show_records

    found = check_dataset(name, settings.data_root(data), full=full)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        show_records([{"what": k, "found": v} for k, v in found.to_dict().items() if k != "problems"], False)
    if found.problems:
        raise DataError(f"{name} is not whole: " + "; ".join(found.problems[:10]))
