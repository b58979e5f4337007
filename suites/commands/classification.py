"""`bench run classification`."""

from __future__ import annotations

from typing import Annotated

import typer

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
    MaxBad,
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
    "classification",
    epilog="**Examples**\n\n"
    "`bench run classification -b rwkvsam-t,vit-t`   train two classifiers by the demo recipe, in minutes\n\n"
    "`bench run classification -b vit-s --weights official --data /datasets`   evaluate official weights\n\n"
    "`bench run classification -b timm:resnet50 --weights resnet50.pth --data /datasets`   timm's own head\n\n"
    "`bench run classification -b rwkvsam-s --data flowers --set train.steps=2000`   your train/ and val/\n\n"
    "`torchrun --nproc-per-node 8 -m linbench.cli run classification -b rwkvsam-s --data /datasets --recipe paper "
    "--device cuda --workers 12`   the published training",
)
def run_classification(
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Backbone, or timm:<name> with its own head; several by comma."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Evaluate these instead of training: `official`, or a checkpoint's path.")
    ] = None,
    eval_only: Annotated[bool, typer.Option("--eval-only", help="Do not train; needs --weights.")] = False,
    recipe: Annotated[
        str, typer.Option(help="`demo`, `paper` (120 epochs), `paper-300`, or a TOML file; `bench list recipes`.")
    ] = "demo",
    set_: Changes = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the evaluated input (default: the recipe's; with weights 224 or theirs)."),
    ] = None,
    seed: Seed = 0,
    limit: Limit = None,
    max_bad: MaxBad = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images evaluated together.")] = 32,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that draw training images, threads that read evaluated ones.")
    ] = 2,
    keep: Keep = 1,
    compile_: Compile = False,
    kernels: Kernels = "auto",
    device: Device = "cpu",
    threads: Threads = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Top-1 and top-5 on ImageNet's layout: train and evaluate classifiers; a row for each, and Table 4."""
    from ... import settings
    from ...errors import UsageError
    from ..classification import SUITE, ClassificationOptions
    from ..classification.recipes import RECIPES
    from ..training.options import EngineOptions
    from ..training.recipes import load_recipe

    if eval_only and weights is None:
        raise UsageError("--eval-only needs weights to evaluate; give --weights official or a checkpoint's path")
    use_threads(threads)
    options = ClassificationOptions(
        backbones=names_in(backbone or []),
        weights=weights,
        recipe=load_recipe(recipe, set_ or (), RECIPES),
        size=size,
        seed=seed,
        data=settings.data_root(data),
        limit=limit,
        max_bad=max_bad,
        batch=batch,
        workers=workers,
        device=device,
        kernels=kernels,
        cache=settings.cache_root(cache),
        engine=EngineOptions(keep=keep, compile=compile_),
    )
    measure(SUITE, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)
