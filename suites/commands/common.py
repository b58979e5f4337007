"""What the commands share: options that several have, and what is done with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from ...errors import LinBenchError, UsageError

if TYPE_CHECKING:
    from ...results.schema import Row
    from ...results.store import Store
    from ..base import Suite
    from ..terminal import Ticker

OptionsT = TypeVar("OptionsT")

training_only: ContextVar[bool] = ContextVar("training_only", default=False)
"""Whether `measure` stops after the training, as `bench train` has it."""

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
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads (default: all cores).")]
Keep = Annotated[int, typer.Option("--keep", min=1, help="Newest checkpoints that are kept while training.")]
Compile = Annotated[bool, typer.Option("--compile", help="Train through torch.compile.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of all random numbers.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; repeatable.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Evaluate only the first images of each set.")]
MaxBad = Annotated[int, typer.Option("--max-bad", min=0, help="Unreadable images to tolerate and leave out.")]
Kernels = Annotated[str, typer.Option("--kernels", help="Operator backend; `bench list kernels`.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:0.")]


class SuiteGroup(TyperGroup):
    """A command for each of some suites; another suite's name is told where it is served."""

    # Typer carries a click of its own from some release on, so its classes have no name that all releases know.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The sub-command that `args` begin with.

        Raises:
            UsageError: No such suite, or one that is served elsewhere.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            from .. import suite

            suite(args[0])
            elsewhere = {"distill": "train distill"}.get(args[0], args[0])
            served = ", ".join(self.commands)
            raise UsageError(f"`{ctx.command_path}` serves {served}; for {args[0]} use `bench {elsewhere}`")
        return super().resolve_command(ctx, args)


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Names in comma lists, each once."""
    return tuple(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def numbers_in(option: str, text: str | None) -> tuple[int, ...]:
    """Whole numbers in a comma list."""
    parts = names_in([text or ""])
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} '{text}' cannot be read; expected whole numbers, for example {option} 1,2")
    return tuple(map(int, parts))


def folders_in(option: str, texts: Iterable[str] | None) -> tuple[tuple[str, Path], ...]:
    """`NAME=FOLDER` texts as pairs."""
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


def open_store(results: Path | None, cache: Path | None = None) -> Store:
    """The store below the results folder, for rows of this installation."""
    from ... import settings
    from ..training.shared_store import store_class

    return store_class()(settings.results_root(results), installation=settings.installation(cache))


def use_threads(threads: int | None) -> None:
    """Let torch compute with so many threads; None leaves it as it is."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def _together(options: Any) -> Iterator[None]:
    """Work with the other processes of this run, where there are any."""
    from ..training.processes import world_size

    if world_size() == 1:
        yield
        return
    from ..training.shards import join, leave

    join(getattr(options, "device", "cpu"))
    yield
    leave()


def _train(suite: Any, options: Any, store: Store, ticker: Ticker, resume: bool, as_json: bool) -> None:
    """Let a suite train, and print where the weights are."""
    from ..training.processes import is_main

    if not hasattr(suite, "train"):
        raise UsageError(f"suite {suite.name} does not train; use `bench run {suite.name}`")
    paths = list(suite.train(options, store=store, progress=ticker if is_main() else None, resume=resume))
    if is_main():
        print(json.dumps([str(path) for path in paths]) if as_json else "\n".join(map(str, paths)))


def measure(
    suite: Suite[OptionsT], options: OptionsT, store: Store, *, resume: bool, dry_run: bool, as_json: bool
) -> list[Row]:
    """Plan or run a suite, show its rows, and end with 1 where one of them failed.

    Of several processes the main one shows; a row that failed in any of them ends them all.
    """
    from ..terminal import Ticker, show_plan, show_rows
    from ..training.processes import is_main, world_size

    with Ticker() as ticker:
        if dry_run:
            show_plan(suite.plan(options), store, resume, as_json)
            return []
        store.check_writable()
        with _together(options):
            if training_only.get():
                _train(suite, options, store, ticker, resume, as_json)
                return []
            rows = []
            for row in suite.run(options, store=store, progress=ticker if is_main() else None, resume=resume):
                rows.append(row)
                if row.status != "ok" and world_size() > 1:
                    raise LinBenchError(f"{row.cell.backbone}: {row.status}: {row.error}")
    if not is_main():
        return rows
    if not show_rows(rows, store, as_json):
        raise typer.Exit(1)
    return rows
