"""`bench run data-stats` and `bench run model-stats`."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import AsJson, Cache, Data, DryRun, Results, Resume, measure, names_in, numbers_in, open_store

app = typer.Typer()


@app.command(
    "data-stats",
    epilog="**Examples**\n\n"
    "`bench run data-stats`   Table 2 of the demo data\n\n"
    "`bench run data-stats --data /datasets`   of the paper's sets that are there, every mask read\n\n"
    "`bench run data-stats --data /datasets --datasets coconut --limit 1000`   annotations whole, 1000 images read",
)
def run_data_stats(
    datasets: Annotated[
        str | None,
        typer.Option(
            help="Data sets, comma separated (default: those of Table 2 that are there); `bench list datasets`."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Read the masks of the first images of each set only.")] = None,
    max_bad: Annotated[int, typer.Option(min=0, help="Unreadable images to tolerate and leave out.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Threads that read masks.")] = 2,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Count images and masks of training sets, as annotated and as read (Table 2)."""
    from ... import settings
    from ..stats import DATA_STATS, DataStatsOptions

    options = DataStatsOptions(
        datasets=None if datasets is None else names_in([datasets]),
        data=settings.data_root(data),
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        cache=settings.cache_root(cache),
    )
    measure(DATA_STATS, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)


@app.command(
    "model-stats",
    epilog="**Examples**\n\n"
    "`bench run model-stats`   Table 1: the three sizes of RWKV-SAM\n\n"
    "`bench run model-stats -b 'vmamba-*,vit-s,timm:convnext_tiny'`   any backbones; quote the pattern\n\n"
    "`bench run model-stats -b rwkvsam-s --res 512,2048`   multiply-adds at other sizes",
)
def run_model_stats(
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Backbones or patterns, comma separated (default: RWKV-SAM's sizes)."),
    ] = None,
    res: Annotated[str, typer.Option(help="Image sides to count multiply-adds at, comma separated.")] = "224,1024",
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Count stages, parameters and multiply-adds of backbones, and hold them against their specs (Table 1)."""
    from ..stats import MODEL_STATS, ModelStatsOptions
    from ..stats.model_stats import PAPER_BACKBONES

    options = ModelStatsOptions(
        backbones=names_in(backbone) if backbone else PAPER_BACKBONES, sides=numbers_in("--res", res)
    )
    measure(MODEL_STATS, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)
