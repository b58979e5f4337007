"""`bench run sam-hq`."""

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
    folders_in,
    measure,
    names_in,
    open_store,
    use_threads,
)

app = typer.Typer()


@app.command(
    "sam-hq",
    epilog="**Examples**\n\n"
    "`bench run sam-hq --backbone rwkvsam-t --weights demo`   evaluate the demo weights\n\n"
    "`bench run sam-hq --backbone rwkvsam-s,vit-s --seed 1`   train two systems by the demo recipe\n\n"
    "`bench run sam-hq -b rwkvsam-s --masks HORSE=photos/horse`   your own photographs\n\n"
    "`bench run sam-hq -b rwkvsam-s --data /datasets --recipe paper`   the paper's recipe on the real sets",
)
def run_sam_hq(
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Backbone under the common SAM decoder; several by comma."),
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="Whole system (`bench list systems`), for example sam-vit-b.")
    ] = None,
    refine: Annotated[str, typer.Option(help="Refine module of the common decoder; `bench list refine`.")] = "auto",
    weights: Annotated[
        str | None, typer.Option(help="Evaluate these instead of training: `demo`, `official`, or a checkpoint's path.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="`demo`, `paper`, or a TOML file; `bench list recipes`.")] = "demo",
    set_: Changes = None,
    teacher: Annotated[
        str,
        typer.Option(help="Where training starts: the `demo` weights, `none` (scratch) or a checkpoint's path."),
    ] = "demo",
    teacher_system: Annotated[str, typer.Option(help="System of a teacher that is given as a path.")] = "rwkvsam-t",
    seed: Seed = 0,
    protocol: Annotated[
        str, typer.Option(help="`rwkvsam` or `hqsam`: geometry, box source and upsampling.")
    ] = "rwkvsam",
    choice: Annotated[
        str,
        typer.Option(help="The mask kept: `single` token's, `best` of three by predicted IoU, `oracle` by the truth."),
    ] = "single",
    frame: Annotated[
        int | None,
        typer.Option(help="Side of the evaluated input (default: the recipe's; 1024 for published weights)."),
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Evaluate on your own folder: im/ + gt/ or images/ + masks/."),
    ] = None,
    train_masks: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Train on these instead of a split of --masks.")
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(help="Evaluation sets, comma separated (default: coco,dis-vd,coift,hrsod; coco needs --boxes)."),
    ] = None,
    boxes: Annotated[
        str | None, typer.Option(help="COCO's prompts: a detector's results JSON, or `truth` (demo data have theirs).")
    ] = None,
    boxes_per_image: Annotated[
        int | None, typer.Option(help="Boxes of the highest scores to use (HQ-SAM: 100).")
    ] = None,
    box_categories: Annotated[
        str, typer.Option(help="Category ids of the boxes: the `dataset`'s, or its categories' `index` from 0.")
    ] = "dataset",
    limit: Limit = None,
    max_bad: MaxBad = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images encoded together in the evaluation.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Threads that read images and score masks.")] = 2,
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
    """Masks from box prompts: train and evaluate systems; rows go to the results folder, a table to the screen."""
    from ... import settings
    from ..sam_hq import SUITE, SamHqOptions
    from ..training.options import EngineOptions
    from ..training.recipes import load_recipe

    use_threads(threads)
    options = SamHqOptions(
        backbones=names_in(backbone or []),
        systems=names_in(system or []),
        refine=refine,
        weights=weights,
        teacher=teacher,
        teacher_system=teacher_system,
        recipe=load_recipe(recipe, set_ or ()),
        frame=frame,
        seed=seed,
        protocol=protocol,
        choice=choice,  # type: ignore[arg-type]
        data=settings.data_root(data),
        datasets=None if datasets is None else names_in([datasets]),
        boxes=boxes,
        boxes_per_image=boxes_per_image,
        box_categories=box_categories,  # type: ignore[arg-type]
        masks=folders_in("--masks", masks),
        train_masks=folders_in("--train-masks", train_masks),
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
