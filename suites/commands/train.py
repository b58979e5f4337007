"""`bench train`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from . import ade20k, classification, sam_hq
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
    training_only,
    use_threads,
)

app = typer.Typer(
    help="Train without an evaluation, or in stages; weights and logs stay in the cache.",
    epilog="**Examples**\n\n"
    "`bench train rwkvsam`   the paper's three stages, on the demo data\n\n"
    "`bench train classification -b vit-t`   weights only; `bench run` with the same options scores them\n\n"
    "`torchrun --nproc-per-node 8 -m linbench.cli train rwkvsam --size s --recipe paper --data /datasets "
    "--device cuda`   on eight GPUs; any command that trains is started so",
)


PREFIX = "imagenet."


def _without_evaluation(command: Callable[..., Any]) -> Callable[..., None]:
    """A command of `bench run` that stops after the training."""

    @functools.wraps(command)
    def train(*args: Any, **options: Any) -> None:
        token = training_only.set(True)
        try:
            command(*args, **options)
        finally:
            training_only.reset(token)

    return train


for module in (ade20k, classification, sam_hq):
    for info in module.app.registered_commands:
        if info.callback is not None:
            app.command(
                info.name,
                short_help=f"Train as `bench run {info.name}` does, without the evaluation.",
                help=f"Train as `bench run {info.name}` does, print where the weights are, and stop; the same options "
                f"with `bench run {info.name}` go on to the evaluation.",
            )(_without_evaluation(info.callback))


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
    student_weights: Annotated[
        Path | None, typer.Option(help="Checkpoint its backbone starts from, such as a classifier's (default: random).")
    ] = None,
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
    set_: Changes = None,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first images.")] = None,
    max_bad: MaxBad = 0,
    kernels: Kernels = "auto",
    keep: Keep = 1,
    compile_: Compile = False,
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
    from ..training.options import EngineOptions
    from ..training.processes import is_main
    from ..training.recipes import load_recipe

    use_threads(threads)
    options = DistillOptions(
        student=student,
        student_weights=student_weights,
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
        engine=EngineOptions(keep=keep, compile=compile_),
    )
    if dry_run:
        show_announcement(announce(options), as_json)
        return
    rows = measure(SUITE, options, open_store(results, cache), resume=resume, dry_run=False, as_json=as_json)
    if rows and is_main() and not as_json:
        show_distilled(rows, options.cache)


@app.command(
    "rwkvsam",
    epilog="**Examples**\n\n"
    "`bench train rwkvsam`   the three stages by the demo recipes on the demo data, in minutes\n\n"
    "`bench train rwkvsam --stages imagenet,distill --dry-run`   what two of them would leave, and what is there\n\n"
    "`bench train rwkvsam --size s --recipe paper --data /datasets --device cuda`   the paper's training\n\n"
    "`bench train rwkvsam --stages distill,joint --start rwkvsam_t_imagenet.pth`   from a classifier of your own",
)
def train_rwkvsam(
    size: Annotated[str, typer.Option(help="`t`, `s` or `b`.")] = "t",
    stages: Annotated[
        str, typer.Option(help="`imagenet` (classification), `distill` (embeddings), `joint` (masks), in this order.")
    ] = "imagenet,distill,joint",
    start: Annotated[
        Path | None, typer.Option(help="Weights the first stage starts from, where that is not imagenet.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="`demo`, `paper`, or a TOML file for distill and joint.")] = "demo",
    imagenet_recipe: Annotated[
        str | None, typer.Option(help="Recipe of the stage imagenet (default: --recipe, of a file `demo`).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value, for example joint.lr=1e-4 or imagenet.train.lr=5e-4."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="System to learn from (default: rwkvsam-t's demo weights, else sam-vit-h).")
    ] = None,
    teacher_weights: Annotated[
        str | None, typer.Option(help="`demo`, `official` or a checkpoint's path (default: demo, else official).")
    ] = None,
    distill_data: Annotated[
        str | None, typer.Option(help="Images of the stage distill: a registered set or a folder (default: sa-1b).")
    ] = None,
    seed: Seed = 0,
    limit: Limit = None,
    max_bad: MaxBad = 0,
    workers: Annotated[int, typer.Option(min=0, help="Threads and processes that read images.")] = 2,
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
    """Train an RWKV-SAM in the paper's stages, each from the weights before it; a finished one is not done again."""
    from ... import settings
    from ..classification.recipes import RECIPES as IMAGENET
    from ..rwkvsam import SUITE, RwkvSamOptions
    from ..terminal import show_records
    from ..training.options import EngineOptions
    from ..training.processes import is_main
    from ..training.recipes import load_recipe

    use_threads(threads)
    ours = [text for text in set_ or () if text.startswith(PREFIX)]
    first = imagenet_recipe or (recipe if recipe in IMAGENET else "demo")
    options = RwkvSamOptions(
        size=size,
        stages=names_in([stages]),
        start=start,
        imagenet=load_recipe(first, ours, IMAGENET, PREFIX),
        recipe=load_recipe(recipe, [text for text in set_ or () if text not in ours]),
        teacher=teacher,
        teacher_weights=teacher_weights,
        data=settings.data_root(data),
        distill_data=distill_data,
        seed=seed,
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        device=device,
        kernels=kernels,
        cache=settings.cache_root(cache),
        engine=EngineOptions(keep=keep, compile=compile_),
    )
    store = open_store(results, cache)
    if dry_run:
        show_records(SUITE.listing(options, store), as_json)
        return
    measure(SUITE, options, store, resume=resume, dry_run=False, as_json=as_json)
    if is_main() and not as_json:
        for record in SUITE.listing(options, store):
            print(f"{record['stage']}: {record['state']}, weights: {record['weights']}")
