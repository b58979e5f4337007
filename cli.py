"""The command `bench`: parses options, calls the suites, prints what they return. Nothing else happens here."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from . import __version__
from .errors import LinBenchError
from .suites.commands import compare, data, doctor, kernels, latency, predict, report, results, run, train, weights
from .suites.commands.common import AsJson

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
for group in (latency, compare, kernels, predict, report, doctor):
    app.registered_commands += group.app.registered_commands
for name, group in (("run", run), ("data", data), ("weights", weights), ("train", train), ("results", results)):
    app.add_typer(group.app, name=name)

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


@app.command("list", epilog="**Examples**\n\n`bench list backbones`\n\n`bench list kernels --json`")
def list_(
    what: Annotated[str, typer.Argument(help="backbones, systems, refine, suites, datasets, recipes or kernels.")] = "",
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
        if _while_importing(error):
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"error: a package cannot be imported ({said}); `bench doctor` says what mends it", file=sys.stderr)
            sys.exit(1)
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


def _while_importing(error: Exception) -> bool:
    """Whether an import raised this, of whatever class: torch and torchvision that do not fit raise a RuntimeError."""
    frames = traceback.walk_tb(error.__traceback__)
    return isinstance(error, ImportError) or any(frame.f_code.co_name == "<module>" for frame, _ in frames)


def _interrupt(*_: object) -> NoReturn:
    """A request to end is served as Ctrl-C is: workers are ended and the cell is stored as interrupted."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
