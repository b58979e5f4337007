"""What every suite is to the command line: a name, a plan and a run. Importing it does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from ..results.provenance import collect
from ..results.schema import Cell, Row
from ..results.store import Store

OptionsT_contra = TypeVar("OptionsT_contra", contravariant=True)


class Event(NamedTuple):
    """One step of a run, for a progress bar or a log.

    Attributes:
        done: Cells that have their row.
        total: Cells of the run.
        message: One line that says what happens now or what was found.
    """

    done: int
    total: int
    message: str


Progress = Callable[[Event], None]


class Suite(Protocol[OptionsT_contra]):
    """A family of measurements.

    Attributes:
        name: As on the command line and in every cell.
        summary: One line for `bench list suites`.
    """

    name: str
    summary: str

    def plan(self, options: OptionsT_contra) -> list[Cell]:
        """The cells that `options` ask for, in the order of their measurement; nothing is built or measured."""
        ...

    def run(
        self, options: OptionsT_contra, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Measure the cells of `plan(options)`, store each row as soon as it is made, and yield it.

        With `resume`, a cell that has an ok row in `store` is not measured again: that row is yielded.
        """
        ...


class Trainer(Protocol[OptionsT_contra]):
    """A suite that trains, and can stop there."""

    def train(
        self, options: OptionsT_contra, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Path]:
        """Train without an evaluation and yield the weights' files; a later `run` with the same options goes on there.

        With `resume`, a training that is over is not done again.
        """
        ...


def finished_rows(cells: Sequence[Cell], store: Store) -> dict[str, Row]:
    """The stored ok rows of `cells` by key; of a cell that names a device, only a row measured on this machine's."""
    found: dict[str, Row] = {}
    for cell in cells:
        row = store.done(cell)
        # The device's name costs an import of torch, so it is asked for only when there is a row to compare with.
        if row is not None and "device" in cell.params:
            row = store.done(cell, device=device_name(cell.params["device"]))
        if row is not None:
            found[cell.key] = row
    return found


@lru_cache
def device_name(device: str) -> str:
    """The name of a device of this machine, as rows have it."""
    return str(collect(device)["device"]["name"])
