"""`bench run ade20k`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError
from .common import (
    AsJson,
    Cache,
    Changes,
    Compile,
    Data,
    Device,
    DryRun,
    Keep,
    Kernels,
    Limit,
    Results,
    Resume,
    Seed,
    Threads,
    measure,
    names_in,
    open_store,
    use_threads,
)

app = typer.Typer()


@app.command(
    "ade20k",
    epilog="**Examples**\n\n"
    "`bench run ade20k`   train RWKV-SAM-T under UperNet on the demo data, in minutes\n\n"
    "`bench run ade20k -b rwkvsam-t,vit-t,vmamba-t --seed 1`   several backbones by one recipe\n\n"
    "`bench run ade20k -b rwkvsam-s --data /datasets --recipe paper --backbone-weights in1k.pth`   as the paper\n\n"
    "`bench run ade20k -b rwkvsam-s --data /datasets --weights mine.safetensors --inference slide`   evaluate only\n\n"
    "`bench run ade20k -b vit-t --data CamVid --classes classes.tsv`   a folder of your own, with its class table",
)
def run_ade20k(
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Backbone under UperNet; several by comma (default: rwkvsam-t)."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Evaluate these instead of training: a segmenter's checkpoint, or `random`."),
    ] = None,
    eval_only: Annotated[bool, typer.Option("--eval-only", help="Train nothing; needs --weights.")] = False,
    backbone_weights: Annotated[
        str | None,
        typer.Option(help="Where training starts: a checkpoint's path, `official` or `official:<tag>` (ImageNet)."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="`demo`, `paper`, or a TOML file.")] = "demo",
    set_: Changes = None,
    inference: Annotated[
        str | None, typer.Option(help="`whole` images or a `slide` window in evaluation (default: the recipe's).")
    ] = None,
    seed: Seed = 0,
    classes: Annotated[
        Path | None, typer.Option(help="Class table, columns id and name (default: classes.tsv in the folder).")
    ] = None,
    limit: Limit = None,
    max_bad: Annotated[int, typer.Option(min=0, help="Unusable images to tolerate and leave out, in each split.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read and draw images.")] = 2,
    kernels: Kernels = "auto",
    keep: Keep = 1,
    compile_: Compile = False,
    device: Device = "cpu",
    threads: Threads = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Semantic segmentation: train and evaluate backbones under UperNet; rows go to the results folder.

    `--data` takes a root that holds ADE20K (ADEChallengeData2016), or a folder in its or CamVid's layout.
    """
    from ... import settings
    from ..ade20k import SUITE, Ade20kOptions
    from ..ade20k.recipes import RECIPES
    from ..training.options import EngineOptions
    from ..training.recipes import load_recipe

    if eval_only and weights is None:
        raise UsageError("--eval-only needs weights to evaluate: --weights FILE, or --weights random")
    use_threads(threads)
    options = Ade20kOptions(
        backbones=names_in(backbone or ["rwkvsam-t"]),
        weights=weights,
        backbone_weights=backbone_weights,
        recipe=load_recipe(recipe, set_ or (), RECIPES),
        inference=inference,  # type: ignore[arg-type]
        seed=seed,
        data=settings.data_root(data),
        classes=classes,
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        device=device,
        kernels=kernels,
        cache=settings.cache_root(cache),
        engine=EngineOptions(keep=keep, compile=compile_),
    )
    measure(SUITE, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)
