"""`bench run ablation-fusion`, `ablation-encoder` and `ablation-distill`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    AsJson,
    Cache,
    Changes,
    Data,
    Device,
    DryRun,
    Kernels,
    Limit,
    MaxBad,
    Results,
    Resume,
    Seed,
    Threads,
    measure,
    open_store,
    use_threads,
)

if TYPE_CHECKING:
    from ..base import Suite
    from ..training.recipes import Recipe

app = typer.Typer()

Backbone = Annotated[
    str, typer.Option("--backbone", "-b", help="Under the common decoder, in every variant; the paper's: rwkvsam-s.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="`demo` (short), `paper`, or a TOML file.")]
Teacher = Annotated[
    str, typer.Option("--teacher", help="Whose decoder all start with: the `demo` weights or a checkpoint's path.")
]
TeacherSystem = Annotated[str, typer.Option("--teacher-system", help="System of a teacher that is given as a path.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Threads that read images and score masks.")]
Res = Annotated[int, typer.Option("--res", help="Image side at which speeds are measured.")]
Dtype = Annotated[str, typer.Option("--dtype", help="Type of weights and activations for speeds: fp32, bf16, fp16.")]
Budget = Annotated[float, typer.Option("--budget", help="Seconds of timed iterations that one variant may take.")]


@app.command(
    "ablation-fusion",
    epilog="**Examples**\n\n"
    "`bench run ablation-fusion`   conv, mamba, rwkv and dcn under rwkvsam-t on the demo data\n\n"
    "`bench run ablation-fusion -b rwkvsam-s --set joint.steps=400 --set joint.max_minutes=none`   longer\n\n"
    "`bench run ablation-fusion -b rwkvsam-s --recipe paper --data /datasets --device cuda "
    "--teacher sam_vit_h_4b8939.pth --teacher-system sam-vit-h`   as the paper",
)
def run_fusion(
    backbone: Backbone = "rwkvsam-t",
    recipe: RecipeName = "demo",
    set_: Changes = None,
    teacher: Teacher = "demo",
    teacher_system: TeacherSystem = "rwkvsam-t",
    seed: Seed = 0,
    limit: Limit = None,
    max_bad: MaxBad = 0,
    workers: Workers = 2,
    res: Res = 1024,
    dtype: Dtype = "fp32",
    budget: Budget = 10.0,
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
    """Refine modules of the decoder: FPS of the whole model, and mIoU by one recipe (Table 6, left)."""
    from ..ablations.fusion import SUITE
    from ..ablations.recipes import FUSION_RECIPES

    _run_masks(
        SUITE,
        FUSION_RECIPES,
        recipe=recipe,
        set_=set_,
        data=data,
        results=results,
        cache=cache,
        resume=resume,
        dry_run=dry_run,
        as_json=as_json,
        speed={"resolution": res, "dtype": dtype, "budget_s": budget},
        backbone=backbone,
        teacher=teacher,
        teacher_system=teacher_system,
        seed=seed,
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        kernels=kernels,
        device=device,
        threads=threads,
    )


@app.command(
    "ablation-encoder",
    epilog="**Examples**\n\n"
    "`bench run ablation-encoder`   rwkvsam-s and its (1-1), (2-2) and (3-3) on the demo data\n\n"
    "`bench run ablation-encoder --set train.steps=400 --set train.max_minutes=none`   longer\n\n"
    "`bench run ablation-encoder --recipe paper --data /datasets/imagenet --device cuda`   as the paper",
)
def run_encoder(
    recipe: Annotated[
        str, typer.Option(help="`demo` (short), `paper` (120 epochs), `paper-300`, or a TOML file.")
    ] = "demo",
    set_: Changes = None,
    seed: Seed = 0,
    limit: Limit = None,
    max_bad: MaxBad = 0,
    workers: Annotated[int, typer.Option(min=0, help="Threads and processes that read images.")] = 2,
    res: Res = 1024,
    dtype: Dtype = "fp32",
    budget: Budget = 10.0,
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
    """RWKV blocks in earlier stages: parameters, FPS of the backbone, top-1 by one recipe (Table 6, right)."""
    from ... import settings
    from ..ablations.class_recipes import CLASS_RECIPES
    from ..ablations.encoder import SUITE, EncoderAblationOptions
    from ..ablations.options import Speed
    from ..training.recipes import load_recipe

    use_threads(threads)
    options = EncoderAblationOptions(
        recipe=load_recipe(recipe, set_ or (), CLASS_RECIPES),
        seed=seed,
        data=settings.data_root(data),
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        speed=Speed(res, dtype, budget),
        device=device,
        threads=threads,
        kernels=kernels,
        cache=settings.cache_root(cache),
    )
    measure(SUITE, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)


@app.command(
    "ablation-distill",
    epilog="**Examples**\n\n"
    "`bench run ablation-distill`   rwkvsam-t from the demo teacher, with stage 1 and without\n\n"
    "`bench run ablation-distill -b vit-s --seed 1`   any backbone\n\n"
    "`bench run ablation-distill -b rwkvsam-s --recipe paper --data /datasets --device cuda "
    "--teacher sam_vit_h_4b8939.pth --teacher-system sam-vit-h`   as the paper",
)
def run_distill(
    backbone: Backbone = "rwkvsam-t",
    recipe: RecipeName = "demo",
    set_: Changes = None,
    teacher: Teacher = "demo",
    teacher_system: TeacherSystem = "rwkvsam-t",
    seed: Seed = 0,
    limit: Limit = None,
    max_bad: MaxBad = 0,
    workers: Workers = 2,
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
    """One system trained with and without distillation of its encoder, mIoU by one recipe (Table 7)."""
    from ..ablations.distill import SUITE
    from ..ablations.recipes import DISTILL_RECIPES

    _run_masks(
        SUITE,
        DISTILL_RECIPES,
        recipe=recipe,
        set_=set_,
        data=data,
        results=results,
        cache=cache,
        resume=resume,
        dry_run=dry_run,
        as_json=as_json,
        speed={},
        backbone=backbone,
        teacher=teacher,
        teacher_system=teacher_system,
        seed=seed,
        limit=limit,
        max_bad=max_bad,
        workers=workers,
        kernels=kernels,
        device=device,
        threads=threads,
    )


def _run_masks(
    suite: Suite[Any],
    recipes: Mapping[str, Recipe],
    *,
    recipe: str,
    set_: list[str] | None,
    data: Data,
    results: Results,
    cache: Cache,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    speed: dict[str, Any],
    **given: Any,
) -> None:
    from ... import settings
    from ..ablations.options import MaskAblationOptions, Speed
    from ..training.recipes import load_recipe

    use_threads(given["threads"])
    options = MaskAblationOptions(
        recipe=load_recipe(recipe, set_ or (), recipes),
        data=settings.data_root(data),
        cache=settings.cache_root(cache),
        speed=Speed(**speed),
        **given,
    )
    measure(suite, options, open_store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)
