"""`bench kernels`."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import (
    AsJson,
    Device,
    DryRun,
    Results,
    Resume,
    Seed,
    measure,
    names_in,
    numbers_in,
    open_store,
)

app = typer.Typer()


@app.command(
    epilog="**Examples**\n\n"
    "`bench kernels --op bi_wkv,q_shift --threads 1,2`   every implementation that works here, and how it scales\n\n"
    "`bench kernels --op bi_wkv --shape T=4096,C=384`   sizes of your own\n\n"
    "`bench kernels --shape 'vim-s*' --forward`   named shapes, forward only\n\n"
    "`bench kernels --device cuda --dtype fp32,bf16`   on a GPU, with and without CUDA graphs\n\n"
    "`bench kernels --dry-run`   what would be measured"
)
def kernels(
    op: Annotated[
        list[str] | None, typer.Option("--op", help="Operator, repeatable or comma separated (default: all).")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a shape, a pattern, `all`, or sizes such as T=4096,C=384; repeatable "
            "(default: all; on the CPU one for each operator)."
        ),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Implementation, repeatable or comma separated (default: all).")
    ] = None,
    forward: Annotated[bool, typer.Option("--forward", help="The forward pass (default: both).")] = False,
    backward: Annotated[bool, typer.Option("--backward", help="The backward pass (default: both).")] = False,
    dtype: Annotated[
        str | None, typer.Option(help="fp32, bf16, fp16 or several (default: fp32; on CUDA fp32,bf16).")
    ] = None,
    launch: Annotated[str | None, typer.Option(help="On CUDA: eager, graph or both (default: both).")] = None,
    threads: Annotated[str | None, typer.Option(help="CPU threads, or several: 1,2 (default: all cores).")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of interleaved blocks.")] = 6,
    budget: Annotated[float, typer.Option(help="Seconds of timed calls a cell may take.")] = 3.0,
    patience: Annotated[
        float, typer.Option(help="Do not time the reference where a call takes longer, in seconds.")
    ] = 5.0,
    cases: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Cases of your own operators instead of LinBench's.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    results: Results = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check and time every implementation of each operator, side by side, against what the machine can do."""
    from ..kernels.options import KernelOptions
    from ..kernels.suite import SUITE

    asked = tuple(name for name, wanted in (("forward", forward), ("backward", backward)) if wanted)
    options = KernelOptions(
        operators=names_in(op or ()),
        shapes=tuple(shape or ()),
        backends=names_in(backend or ()),
        directions=asked or KernelOptions.directions,  # type: ignore[arg-type]
        dtypes=names_in([dtype or ""]),
        device=device,
        threads=numbers_in("--threads", threads),
        launches=names_in([launch or ""]),  # type: ignore[arg-type]
        source=cases,
        seed=seed,
        rounds=rounds,
        budget_s=budget,
        patience_s=patience,
    )
    measure(SUITE, options, open_store(results), resume=resume, dry_run=dry_run, as_json=as_json)
