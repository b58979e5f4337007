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
from .errors import DataError, LinBenchError, UsageError, WeightsError

if TYPE_CHECKING:
    from .results.schema import Row
    from .results.store import Store
    from .suites.base import Suite
    from .suites.latency import LatencyOptions

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
weights_app = typer.Typer(help="List, get and check official checkpoints.")
app.add_typer(weights_app, name="weights")
train_app = typer.Typer(help="Train a part of a system.")
app.add_typer(train_app, name="train")

Backbones = Annotated[
    list[str],
    typer.Option("--backbone", "-b", help="Name (`bench list backbones`) or module:function; several by comma."),
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
        command = "train distill" if suite == "distill" else suite
        raise UsageError(f"`bench run` serves sam-hq; for {suite} use `bench {command}`")
    from .suites.sam_hq import SUITE, SamHqOptions
    from .suites.training.recipes import load_recipe

    _use_threads(threads)
    options = SamHqOptions(
        backbones=_names(backbone or []),
        systems=_names(system or []),
        refine=refine,
        weights=weights,
        teacher=teacher,
        teacher_system=teacher_system,
        recipe=load_recipe(recipe, set_ or ()),
        frame=frame,
        seed=seed,
        protocol=protocol,
        data=settings.data_root(data),
        datasets=None if datasets is None else _names([datasets]),
        boxes=boxes,
        boxes_per_image=boxes_per_image,
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
    res: Annotated[str, typer.Option(help="Image sides: A..B (step 256), A..B:STEP, or a comma list.")] = "1024",
    attention: Annotated[str, typer.Option(help="For softmax backbones: sdpa, eager or both.")] = "sdpa",
    batch: Annotated[str, typer.Option(help="Images in one pass, or several: 1,8,auto.")] = "1",
    dtype: Annotated[str, typer.Option(help="fp32, bf16, fp16 or several.")] = "fp32",
    tf32: Annotated[bool, typer.Option("--tf32", help="Let CUDA round fp32 products to TF32.")] = False,
    compile_: Annotated[
        str, typer.Option("--compile", help="none, default, max-autotune, graphs (CUDA graphs) or several.")
    ] = "none",
    channels_last: Annotated[bool, typer.Option("--channels-last/--no-channels-last", help="Memory layout.")] = True,
    aa: Annotated[bool, typer.Option("--aa", help="Measure every subject against itself.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Write traces and tables of operators, no times.")] = False,
    sentinel: Annotated[bool, typer.Option("--sentinel/--no-sentinel", help="Measure the noise floor.")] = True,
    rounds: Annotated[int, typer.Option(help="Rounds of interleaved blocks.")] = 6,
    budget: Annotated[float, typer.Option(help="Seconds of timed iterations a cell may take.")] = 30.0,
    interleave: Annotated[
        bool, typer.Option("--interleave/--no-interleave", help="Let subjects take turns; no: one after the other.")
    ] = True,
    kernels: Annotated[str, typer.Option(help="Operator backend; `bench list kernels`.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of weights, inputs and order.")] = 0,
    device: Device = "cpu",
    threads: Threads = None,
    results: Results = None,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure latency, throughput and memory over input resolution, each model in a process of its own."""
    from .suites.latency import SUITE, LatencyOptions, parse_batches, parse_resolutions

    options = LatencyOptions(
        backbones=_names(backbone or ()),
        systems=_names(system or ()),
        stages=None if stage is None else _names([stage]),  # type: ignore[arg-type]
        prompts=_numbers("--prompts", prompts),
        resolutions=parse_resolutions(res),
        attention=_names([attention]),  # type: ignore[arg-type]
        batches=parse_batches(batch),
        dtypes=_names([dtype]),  # type: ignore[arg-type]
        tf32=tf32,
        compile=_names([compile_]),  # type: ignore[arg-type]
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
        _profile(options, _store(results).root, as_json)
        return
    _measure(SUITE, options, _store(results), resume=resume, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="**Examples**\n\n"
    "`bench compare rwkvsam-s vit-s`   at every resolution that both were measured at\n\n"
    "`bench compare vit-s@attention=sdpa vit-s@attention=eager`   one name, two settings\n\n"
    "`bench compare monday/results tuesday/results`   the same cells in two folders"
)
def compare(
    first: Annotated[
        str, typer.Argument(help="Backbone or system, NAME or NAME@param=value,...; or a results folder.")
    ],
    second: Annotated[str, typer.Argument(help="What to compare it with, likewise.")],
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """Compare stored latencies: ratios over the rounds that both took part in, and faster, slower or tie."""
    from .results.compare import compare_folders, compare_subjects, comparison_table, same_kind_of_source
    from .results.tables import to_markdown

    if same_kind_of_source(first, second):
        compared = compare_folders(Path(first), Path(second))
    else:
        compared = compare_subjects(_store(results).latest("latency"), first, second)
    if as_json:
        print(json.dumps([one.to_dict() for one in compared], indent=1))
    else:
        print(to_markdown([comparison_table(compared, first, second)]))


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


@app.command(
    epilog="**Examples**\n\n"
    "`bench predict photo.jpg --box 10,20,200,300`   one object; demo weights\n\n"
    "`bench predict photo.jpg --point 120,80,1 --point 40,60,0`   this, without that\n\n"
    "`bench predict 'photos/*.jpg' --prompts prompts.json --out masks`   prompts by image name\n\n"
    "`bench predict photos --everything --points-per-side 16`   whatever is there\n\n"
    '`prompts.json`: `{"a.jpg": {"boxes": [[10, 20, 200, 300]]}, "b.jpg": {"points": [[120, 80]], "labels": [1]}}`'
)
def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Files, folders or patterns.")],
    box: Annotated[
        list[str] | None, typer.Option("--box", metavar="X0,Y0,X1,Y1", help="A box in pixels; each is an object.")
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", metavar="X,Y,LABEL", help="1 on, 0 off the object; all are of one object."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="JSON file of prompts by image name.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Find everything, by a grid of points.")] = False,
    points_per_side: Annotated[int | None, typer.Option(help="Of the grid (default: 32).")] = None,
    stability: Annotated[float | None, typer.Option(help="Least stability of a mask (default: 0.95).")] = None,
    quality: Annotated[
        float | None, typer.Option(help="Least predicted IoU (default: 0.88; not asked of one-mask decoders).")
    ] = None,
    min_area: Annotated[int | None, typer.Option(help="Remove holes and islands of fewer pixels.")] = None,
    crop_layers: Annotated[int | None, typer.Option(help="Search crops too, 4 in layer 1, 16 in layer 2.")] = None,
    system: Annotated[str, typer.Option(help="System; `bench list systems`.")] = "rwkvsam-t",
    weights: Annotated[
        str | None, typer.Option(help="`demo`, `official` or a checkpoint's path (default: demo, else official).")
    ] = None,
    multimask: Annotated[bool, typer.Option("--multimask", help="Keep all three masks of each object.")] = False,
    choice: Annotated[
        str, typer.Option(help="The mask kept: `single` token's, or `best` of three by predicted IoU.")
    ] = "single",
    frame: Annotated[int, typer.Option(help="Images are scaled into a square of this side.")] = 1024,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("predictions"),
    again: Annotated[bool, typer.Option("--again", help="Predict what is there already, too.")] = False,
    max_bad: Annotated[int, typer.Option(min=0, help="Unusable images to tolerate and leave out.")] = 0,
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    device: Device = "cpu",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Segment your own images by boxes, points or everything: mask PNGs, an overlay and a JSON file for each."""
    from .suites.predict.options import PredictOptions
    from .suites.predict.run import predict_images
    from .suites.terminal import Ticker, show_predictions

    _use_threads(threads)
    automatic = {
        "points_per_side": points_per_side,
        "stability_threshold": stability,
        "quality_threshold": quality,
        "min_area": min_area,
        "crop_layers": crop_layers,
    }
    options = PredictOptions(
        images=tuple(images),
        boxes=tuple(box or ()),
        points=tuple(point or ()),
        prompts=prompts,
        everything=everything,
        automatic={name: value for name, value in automatic.items() if value is not None},
        system=system,
        weights=weights,
        multimask=multimask,
        choice=choice,  # type: ignore[arg-type]
        frame=frame,
        out=out.expanduser(),
        device=device,
        dtype=dtype,
        again=again,
    )
    with Ticker() as ticker:
        outcome = predict_images(options, progress=ticker)
    show_predictions(outcome, options.out, as_json)
    if len(outcome.bad) > max_bad or not outcome.rows:
        raise DataError(outcome.complaint())


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
    what: Annotated[str, typer.Argument(help="backbones, systems, refine, suites, datasets, recipes or kernels.")],
    as_json: AsJson = False,
) -> None:
    """List what there is."""
    from .suites.inventory import inventory, shown
    from .suites.terminal import show_records

    records = inventory(what)
    show_records(records if as_json else shown(what, records), as_json)
    if what == "backbones":
        from .backbones.registry import plugin_problems

        for problem in plugin_problems():
            print(f"warning: this plug-in is left out: {problem}", file=sys.stderr)


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


@train_app.command(
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
    from . import settings
    from .suites.distill import SUITE, DistillOptions, announce
    from .suites.terminal import show_announcement, show_distilled
    from .suites.training.recipes import load_recipe

    _use_threads(threads)
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
    rows = _measure(SUITE, options, _store(results, cache), resume=resume, dry_run=False, as_json=as_json)
    if not as_json:
        show_distilled(rows, options.cache)


@weights_app.command("list", epilog="**Examples**\n\n`bench weights list`\n\n`bench weights list 'vmamba-*' --json`")
def weights_list(
    pattern: Annotated[str, typer.Argument(help="Names to show, as a shell pattern.")] = "*",
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """List the official checkpoints: for what, which file, licence, hash, whether it is here."""
    from .suites import weights
    from .suites.terminal import show_records

    records = weights.list_weights(pattern, cache=cache)
    show_records(records if as_json else weights.shown(records), as_json)
    if not as_json:
        print("\n" + "\n".join(weights.notes()))


@weights_app.command(
    "get", epilog="**Examples**\n\n`bench weights get vit-s vmamba-s`\n\n`bench weights get vrwkv-l:in22k`"
)
def weights_get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones, systems or `<name>:<tag>`.")],
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Download official checkpoints, going on where an earlier download broke off, and verify them."""
    from .backbones.weight_files import find_checkpoint, obtain

    found = [find_checkpoint(name) for name in names]
    paths = {checkpoint.name: str(obtain(checkpoint, cache=cache)) for checkpoint in found}
    print(json.dumps(paths, indent=1) if as_json else "\n".join(paths.values()))


@weights_app.command(
    "check",
    epilog="**Examples**\n\n`bench weights check`   every file in the cache\n\n"
    "`bench weights check vit-s`   one of them\n\n`bench weights check vit-s mine.pth`   a file of yours",
)
def weights_check(
    name: Annotated[str | None, typer.Argument(help="Backbone, system or `<name>:<tag>` (default: all here).")] = None,
    file: Annotated[Path | None, typer.Argument(help="File to check as that (default: the one in the cache).")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Check files: hash, that they load with no key missing or unexpected, that all values are finite."""
    from .suites.terminal import show_records
    from .suites.weights import check_weights

    records = check_weights(name, file, cache=cache)
    if not records and not as_json:
        print("no weights here; `bench weights get NAME` gets some")
        return
    hidden = () if as_json else ("sha256", "fault")
    show_records([{k: v for k, v in record.items() if k not in hidden} for record in records], as_json)
    faults = [f"{record['name']}: {record['fault']}" for record in records if record["fault"]]
    if faults:
        raise WeightsError("; ".join(faults))


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


def _profile(options: LatencyOptions, root: Path, as_json: bool) -> None:
    from .suites.latency.profiling import profile_cells
    from .suites.terminal import Ticker, show_profiles

    with Ticker() as ticker:
        profiles = list(profile_cells(options, root / "profiles", progress=ticker))
    if not show_profiles(profiles, as_json):
        raise typer.Exit(1)


def _measure(
    suite: Suite[OptionsT], options: OptionsT, store: Store, *, resume: bool, dry_run: bool, as_json: bool
) -> list[Row]:
    from .suites.terminal import Ticker, show_plan, show_rows

    with Ticker() as ticker:
        if dry_run:
            show_plan(suite.plan(options), store, resume, as_json)
            return []
        store.check_writable()
        rows = list(suite.run(options, store=store, progress=ticker, resume=resume))
    if not show_rows(rows, store, as_json):
        raise typer.Exit(1)
    return rows
