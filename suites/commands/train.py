"""`bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import AsJson, Cache, Device, DryRun, Results, Resume, Threads, measure, open_store, use_threads

app = typer.Typer(help="Train a part of a system.")


@app.command(
    "distill",
    epilog="**Examples**\n\n"
    "`bench train distill`   RWKV-SAM-T from the demo weights on the demo data, in minutes\n\n"
    "`bench train distill --student vit-t+sam --data photos --cache-embeddings --fp16`   on your own photographs\n\n"
    "`bench train distill --student rwkvsam-s --teacher sam-vit-h --teacher-weights sam_vit_h_4b8939.pth --data sa-1b "
    "--cache-embeddings --recipe paper --dry-run`   what the paper's first stage would write",
)
def train_distill(
    student: Annotated[str, typer.Option(help="System to train; `bench list systems`.")] = "rwkvsam-t",
    teacher: Annotated[str, typer.Option(help="System to learn from.")] = "rwkvsam-t",
    teacher_weights: Annotated[
        str | None, typer.Option(help="`demo`, `official` or a checkpoint's path (default: demo, else official).")
    ] = None,
    data: Annotated[
        str, typer.Option(help="`demo`, a registered set below LINBENCH_DATA such as sa-1b, or a folder of images.")
    ] = "demo",
    cache_embeddings: Annotated[
        bool, typer.Option("--cache-embeddings", help="Compute the teacher's embeddings once, and keep them.")
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Keep them in half the bytes.")] = False,
    embeddings: Annotated[Path | None, typer.Option(help="Folder for them (default: in the cache).")] = None,
    recipe: Annotated[str, typer.Option(help="`demo`, `paper`, or a TOML file; its stage `distill` counts.")] = "demo",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of the recipe, for example distill.steps=100.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation and order.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first images.")] = None,
    max_bad: Annotated[int, typer.Option(min=0, help="Unreadable images to tolerate and leave out.")] = 0,
    kernels: Annotated[str, typer.Option(help="Operator backend; `bench list kernels`.")] = "auto",
    device: Device = "cpu",
    threads: Threads = None,
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train a system's encoder on a teacher's image embeddings; what is written is said before it starts."""
    from ... import settings
    from ..distill import SUITE, DistillOptions, announce
    from ..terminal import show_announcement, show_distilled
    from ..training.recipes import load_recipe

    use_threads(threads)
    options = DistillOptions(
        student=student,
        teacher=teacher,
        teacher_weights=teacher_weights,
        data=data,
        data_root=settings.data_root(),
        recipe=load_recipe(recipe, set_ or ()),
        cached=cache_embeddings,
        dtype="fp16" if fp16 else "fp32",
        embeddings=embeddings,
        seed=seed,
        limit=limit,
        max_bad=max_bad,
        device=device,
        kernels=kernels,
        cache=settings.cache_root(cache),
    )
    if dry_run:
        show_announcement(announce(options), as_json)
        return
    rows = measure(SUITE, options, open_store(results, cache), resume=resume, dry_run=False, as_json=as_json)
    if not as_json:
        show_distilled(rows, options.cache)
