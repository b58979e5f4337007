"""The command `bench`: parses options, calls the suites, prints what they return. Nothing else happens here."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from . import __version__
from .errors import DataError, LinBenchError, UsageError

if TYPE_CHECKING:
    from .results.store import Store
    from .suites.base import Suite

OptionsT = TypeVar("OptionsT")

app = typer.Typer(
    name="bench",
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Linear-attention vision backbones against softmax ones: one SAM decoder, one recipe, one way to measure.\n\n"
    "**Examples**\n\n"
    "`bench run sam-hq --backbone rwkvsam-s`   train and evaluate on the demo data\n\n"
    "`bench latency --res 512..2048 --backbone rwkvsam-s,vit-s`   latency over resolution\n\n"
    "`bench report`   tables and figures from the stored rows",
)
data_app = typer.Typer(help="Draw the demo data; check data sets.")
app.add_typer(data_app, name="data")

Backbones = Annotated[
    list[str],
    typer.Option("--backbone", "-b", help="Backbone, repeatable or comma separated; `bench list backbones`."),
]
Results = Annotated[
    Path | None, typer.Option("--results", envvar="LINBENCH_RESULTS", help="Results folder (default: results).")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", envvar="LINBENCH_CACHE", help="Cache folder (default: ~/.cache/linbench).")
]
Data = Annotated[
    Path | None, typer.Option("--data", envvar="LINBENCH_DATA", help="Root of the real data sets (default: demo data).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be measured, and what is there already.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Take rows this installation finished; no: again.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads (default: all cores).")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:0.")]
INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(f"linbench {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(
    epilog="**Examples**\n\n"
    "`bench run sam-hq --backbone rwkvsam-t --weights demo`   evaluate the demo weights\n\n"
    "`bench run sam-hq --backbone rwkvsam-s,vit-s --seed 1`   train two systems by the demo recipe\n\n"
    "`bench run sam-hq -b rwkvsam-s --masks HORSE=photos/horse`   your own photographs\n\n"
    "`bench run sam-hq -b rwkvsam-s --data /datasets --recipe paper`   the paper's recipe on the real sets"
)
def run(
    suite: Annotated[str, typer.Argument(help="Suite; `bench list suites`.")],
    backbone: Backbones,
    weights: Annotated[
        str | None, typer.Option(help="Evaluate these weights instead of training: `demo`, or a checkpoint's path.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="`demo`, `paper`, or a TOML file; `bench list recipes`.")] = "demo",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe, for example joint.lr=1e-4."),
    ] = None,
    teacher: Annotated[
        str,
        typer.Option(help="Where training starts: the `demo` weights, `none` (scratch) or a checkpoint's path."),
    ] = "demo",
    teacher_system: Annotated[str, typer.Option(help="System of a teacher that is given as a path.")] = "rwkvsam-t",
    seed: Annotated[int, typer.Option(help="Seed of initialisation, sampling and losses.")] = 0,
    protocol: Annotated[
        str, typer.Option(help="`rwkvsam` or `hqsam`: geometry, box source and upsampling.")
    ] = "rwkvsam",
    frame: Annotated[int | None, typer.Option(help="Side of the evaluated input (default: the recipe's).")] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Evaluate on your own folder: im/ + gt/ or images/ + masks/."),
    ] = None,
    train_masks: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Train on these instead of a split of --masks.")
    ] = None,
    datasets: Annotated[str, typer.Option(help="Registered evaluation sets, comma separated.")] = "dis-vd,coift,hrsod",
    limit: Annotated[int | None, typer.Option(help="Evaluate only the first images of each set.")] = None,
    max_bad: Annotated[int, typer.Option(min=0, help="Unreadable images to tolerate and leave out.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images encoded together in the evaluation.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Threads that read images and score masks.")] = 2,
    kernels: Annotated[str, typer.Option(help="Operator backend; `bench list kernels`.")] = "auto",
    device: Device = "cpu",
    threads: Threads = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train and evaluate backbones in a suite; rows go to the results folder, a table to the screen."""
    from . import settings
    from .suites import suite as find_suite

    if suite != "sam-hq":
        find_suite(suite)
        raise UsageError(f"`bench run` serves sam-hq; for {suite} use `bench {suite}`")
    from .suites.sam_hq import SUITE, SamHqOptions
    from .suites.training.recipes import load_recipe

    _use_threads(threads)
    options = SamHqOptions(
        backbones=_names(backbone),
        weights=weights,
        teacher=teacher,
        teacher_system=teacher_system,
        recipe=load_recipe(recipe, set_ or ()),
        frame=frame,
        seed=seed,
        protocol=protocol,
        data=settings.data_root(data),
        datasets=_names([datasets]),
        masks=_folders("--masks", masks),
        train_masks=_folders("--train-masks", train_masks),
        limit=limit,
        max_bad=max_bad,
        batch=batch,
        workers=workers,
        device=device,
        kernels=kernels,
        cache=settings.cache_root(cache),
    )
    _measure(SUITE, options, _store(results, cache), resume=resume, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="**Examples**\n\n"
    "`bench latency --res 512..2048 --backbone rwkvsam-s,vit-s`   seven sizes, step 256\n\n"
    "`bench latency --res 512..2048:512 -b vit-s --attention sdpa,eager`   both kinds of attention\n\n"
    "`bench latency --res 1024 -b rwkvsam-s --dry-run`   what would be measured"
)
def latency(
    backbone: Backbones,
    res: Annotated[str, typer.Option(help="Image sides: A..B (step 256), A..B:STEP, or a comma list.")] = "1024",
    attention: Annotated[str, typer.Option(help="For softmax backbones: sdpa, eager or both.")] = "sdpa",
    batch: Annotated[int, typer.Option(help="Images in one forward pass.")] = 1,
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    rounds: Annotated[int, typer.Option(help="Rounds of interleaved blocks.")] = 6,
    budget: Annotated[float, typer.Option(help="Seconds of timed iterations a cell may take.")] = 30.0,
    kernels: Annotated[str, typer.Option(help="Operator backend; `bench list kernels`.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of weights, inputs and order.")] = 0,
    device: Device = "cpu",
    threads: Threads = None,
    results: Results = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure latency and peak memory of backbones over input resolution, each in a process of its own."""
    from .suites.latency import SUITE, LatencyOptions, parse_resolutions

    options = LatencyOptions(
        backbones=_names(backbone),
        resolutions=parse_resolutions(res),
        attention=_names([attention]),  # type: ignore[arg-type]
        batch=batch,
        dtype=dtype,  # type: ignore[arg-type]
        rounds=rounds,
        budget_s=budget,
        kernels=kernels,
        seed=seed,
        device=device,
        threads=threads,
    )
    _measure(SUITE, options, _store(results), resume=resume, dry_run=dry_run, as_json=as_json)


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
        typer.Option(help="Name of a shape, a pattern, or sizes such as T=4096,C=384; repeatable (default: all)."),
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
    seed: Annotated[int, typer.Option(help="Seed of inputs and order.")] = 0,
    device: Device = "cpu",
    results: Results = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check and time every implementation of each operator, side by side, against what the machine can do."""
    from .suites.kernels.options import KernelOptions
    from .suites.kernels.suite import SUITE

    asked = tuple(name for name, wanted in (("forward", forward), ("backward", backward)) if wanted)
    options = KernelOptions(
        operators=_names(op or ()),
        shapes=tuple(shape or ()),
        backends=_names(backend or ()),
        directions=asked or KernelOptions.directions,  # type: ignore[arg-type]
        dtypes=_names([dtype or ""]),
        device=device,
        threads=_numbers("--threads", threads),
        launches=_names([launch or ""]),  # type: ignore[arg-type]
        source=cases,
        seed=seed,
        rounds=rounds,
        budget_s=budget,
        patience_s=patience,
    )
    _measure(SUITE, options, _store(results), resume=resume, dry_run=dry_run, as_json=as_json)


@app.command(epilog="**Example**\n\n`bench report --results results`")
def report(results: Results = None, as_json: AsJson = False) -> None:
    """Write tables and figures from the stored rows, paper values beside measured ones."""
    from .results.report import write_report

    store = _store(results)
    paths = write_report(store, store.root)
    if as_json:
        print(json.dumps([str(path) for path in paths]))
    elif paths:
        print("\n".join(map(str, paths)))
    else:
        raise UsageError(f"no rows under {store.root}/runs; measure first, for example `bench latency -b vit-t`")


@app.command("list", epilog="**Examples**\n\n`bench list backbones`\n\n`bench list kernels --json`")
def list_(
    what: Annotated[str, typer.Argument(help="backbones, systems, suites, datasets, recipes or kernels.")],
    as_json: AsJson = False,
) -> None:
    """List what there is."""
    from .suites.inventory import inventory
    from .suites.terminal import show_records

    show_records(inventory(what), as_json)


@data_app.command("demo", epilog="**Example**\n\n`bench data demo --train-images 4000`")
def data_demo(
    root: Annotated[Path | None, typer.Argument(help="Folder to fill (default: in the cache).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every drawing.")] = 0,
    train_images: Annotated[int | None, typer.Option(help="Training images (default: 600).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (default: one a core).")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the demo data: procedural scenes with exact masks, in the real data sets' layouts."""
    from .suites.base import Event
    from .suites.data.demo.build import build_demo
    from .suites.terminal import Ticker

    with Ticker() as ticker:
        path = build_demo(
            root,
            seed=seed,
            train_images=train_images,
            workers=workers,
            progress=lambda done, total: ticker(Event(done, total, f"drawing demo data {done}/{total}")),
        )
    print(json.dumps({"root": str(path)}) if as_json else path)


@data_app.command("check", epilog="**Example**\n\n`bench data check dis-vd --data /datasets`")
def data_check(
    name: Annotated[str, typer.Argument(help="Data set; `bench list datasets`.")],
    data: Data = None,
    full: Annotated[bool, typer.Option("--full", help="Read every image, not only the headers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a data set is whole: folders, counts, sizes, unreadable files."""
    from . import settings
    from .suites.data.checks import check_dataset
    from .suites.terminal import show_records

    found = check_dataset(name, settings.data_root(data), full=full)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        show_records([{"what": k, "found": v} for k, v in found.to_dict().items() if k != "problems"], False)
    if found.problems:
        raise DataError(f"{name} is not whole: " + "; ".join(found.problems[:10]))


@app.command(epilog="**Example**\n\n`bench doctor --json`")
def doctor(as_json: AsJson = False, results: Results = None, data: Data = None, cache: Cache = None) -> None:
    """Say what works here: versions, devices, operator backends and why not, data, disk."""
    from . import settings
    from .suites.doctor import diagnose
    from .suites.terminal import show_records

    found = diagnose(
        results=settings.results_root(results), data=settings.data_root(data), cache=settings.cache_root(cache)
    )
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        for title, records in found.sections.items():
            print(f"\n{title}")
            show_records(records, False)
    if found.faults:
        raise LinBenchError("; ".join(found.faults))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `bench`: one line for an error a user can mend, and its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(args=list(arguments) if arguments is not None else None, prog_name="bench", standalone_mode=False)
    except LinBenchError as error:
        row_json = getattr(error, "row_json", None)
        if row_json is not None:
            print(row_json, file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        # The parser's own errors; their class is typer's or click's, as the version has it.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "bench"
        print(f"error: {error.format_message().rstrip('.')}; see `{command} --help`", file=sys.stderr)
        sys.exit(2)
    # typer turns Ctrl-C into this exit code and says nothing.
    if code == INTERRUPTED:
        print("interrupted; finished rows are kept, the same command goes on from here", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(*_: object) -> NoReturn:
    """A request to end is served as Ctrl-C is: workers are ended and the cell is stored as interrupted."""
    raise KeyboardInterrupt


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def _numbers(option: str, text: str | None) -> tuple[int, ...]:
    parts = _names([text or ""])
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} '{text}' cannot be read; expected whole numbers, for example {option} 1,2")
    return tuple(map(int, parts))


def _folders(option: str, texts: Iterable[str] | None) -> tuple[tuple[str, Path], ...]:
    folders = []
    for text in texts or ():
        name, found, path = text.partition("=")
        if not found or not name or not path:
            raise UsageError(
                f"{option} '{text}' cannot be read; expected NAME=FOLDER, for example {option} HORSE=photos/horse"
            )
        folders.append((name, Path(path).expanduser()))
    if len({name for name, _ in folders}) < len(folders):
        raise UsageError(f"{option} names a folder twice; give each a name of its own")
    return tuple(folders)


def _store(results: Path | None, cache: Path | None = None) -> Store:
    from . import settings
    from .results.store import Store

    return Store(settings.results_root(results), installation=settings.installation(cache))


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _measure(
    suite: Suite[OptionsT], options: OptionsT, store: Store, *, resume: bool, dry_run: bool, as_json: bool
) -> None:
    from .suites.terminal import Ticker, show_plan, show_rows

    with Ticker() as ticker:
        if dry_run:
            show_plan(suite.plan(options), store, resume, as_json)
            return
        store.check_writable()
        rows = list(suite.run(options, store=store, progress=ticker, resume=resume))
    if not show_rows(rows, store, as_json):
        raise typer.Exit(1)
