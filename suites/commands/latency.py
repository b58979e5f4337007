"""`bench latency`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    AsJson,
    Device,
    DryRun,
    Kernels,
    Results,
    Resume,
    Seed,
    Threads,
    measure,
    names_in,
    numbers_in,
    open_store,
)

if TYPE_CHECKING:
    from ..latency import LatencyOptions

app = typer.Typer()
UNTIMED = 3


@app.command(
    epilog="**Examples**\n\n"
    "`bench latency --res 512..2048 --backbone rwkvsam-s,vit-s`   seven sizes, step 256\n\n"
    "`bench latency --res 512..2048:512 -b vit-s --attention sdpa,eager`   both kinds of attention\n\n"
    "`bench latency --system rwkvsam-s --stage encoder,decoder --prompts 1,20`   parts of a system\n\n"
    "`bench latency -b rwkvsam-s,vit-s --batch 1,8,auto --dtype fp32,bf16`   auto: the best throughput\n\n"
    "`bench latency -b vit-s --device cuda --compile none,default,graphs`   ways to call it\n\n"
    "`bench latency -b vit-s --aa`   a subject against itself: must be a tie\n\n"
    "`bench latency -b rwkvsam-s --res 1024 --profile`   traces and operators instead of times\n\n"
    "`bench latency --res 1024 -b rwkvsam-s --dry-run`   what would be measured"
)
def latency(
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Backbone, repeatable or comma separated; `bench list backbones`."),
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option("--system", help="System, repeatable or comma separated; `bench list systems`.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="backbone; of a system encoder, decoder, e2e or several (default: e2e).")
    ] = None,
    prompts: Annotated[str, typer.Option(help="Boxes for each image, or several counts: 1,20.")] = "1",
    refine: Annotated[
        str, typer.Option(help="Refine modules of a system's decoder, one or several; `bench list refine`.")
    ] = "auto",
    res: Annotated[str, typer.Option(help="Image sides: A..B (step 256), A..B:STEP, or a comma list.")] = "1024",
    attention: Annotated[str, typer.Option(help="For softmax backbones: sdpa, eager or both.")] = "sdpa",
    batch: Annotated[str, typer.Option(help="Images in one pass, or several: 1,8,auto.")] = "1",
    dtype: Annotated[str, typer.Option(help="fp32, bf16, fp16 or several.")] = "fp32",
    tf32: Annotated[bool, typer.Option("--tf32", help="Let CUDA round fp32 products to TF32.")] = False,
    compile_: Annotated[
        str, typer.Option("--compile", help="none, default, max-autotune, graphs (CUDA graphs) or several.")
    ] = "none",
    channels_last: Annotated[bool, typer.Option("--channels-last/--no-channels-last", help="Memory layout.")] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 3 where a cell has no time, out of memory included.")
    ] = False,
    aa: Annotated[bool, typer.Option("--aa", help="Measure every subject against itself.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Write traces and tables of operators, no times.")] = False,
    sentinel: Annotated[bool, typer.Option("--sentinel/--no-sentinel", help="Measure the noise floor.")] = True,
    rounds: Annotated[int, typer.Option(help="Rounds of interleaved blocks.")] = 6,
    budget: Annotated[float, typer.Option(help="Seconds of timed iterations a cell may take.")] = 30.0,
    interleave: Annotated[
        bool, typer.Option("--interleave/--no-interleave", help="Let subjects take turns; no: one after the other.")
    ] = True,
    kernels: Kernels = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    results: Results = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure latency, throughput and memory over input resolution, each model in a process of its own."""
    from ...results.series import NUMBERED
    from ..latency import SUITE, LatencyOptions, parse_batches, parse_resolutions

    options = LatencyOptions(
        backbones=names_in(backbone or ()),
        systems=names_in(system or ()),
        stages=None if stage is None else names_in([stage]),  # type: ignore[arg-type]
        prompts=numbers_in("--prompts", prompts),
        refine=names_in([refine]),
        resolutions=parse_resolutions(res),
        attention=names_in([attention]),  # type: ignore[arg-type]
        batches=parse_batches(batch),
        dtypes=names_in([dtype]),  # type: ignore[arg-type]
        tf32=tf32,
        compile=names_in([compile_]),  # type: ignore[arg-type]
        channels_last=channels_last,
        aa=aa,
        sentinel=sentinel,
        rounds=rounds,
        budget_s=budget,
        interleave=interleave,
        kernels=kernels,
        seed=seed,
        device=device,
        threads=threads,
    )
    if profile and not dry_run:
        _profile(options, open_store(results).root, as_json)
        return
    rows = measure(SUITE, options, open_store(results), resume=resume, dry_run=dry_run, as_json=as_json)
    if strict and any(row.status not in NUMBERED for row in rows):
        raise typer.Exit(UNTIMED)


def _profile(options: LatencyOptions, root: Path, as_json: bool) -> None:
    from ..latency.profiling import profile_cells
    from ..terminal import Ticker, show_profiles

    with Ticker() as ticker:
        profiles = list(profile_cells(options, root / "profiles", progress=ticker))
    if not show_profiles(profiles, as_json):
        raise typer.Exit(1)
