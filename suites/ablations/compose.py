"""A suite made of runs of other suites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from ...results.schema import Cell, Row
from ...results.store import Store
from ..base import Event, Progress, Suite

OptionsT = TypeVar("OptionsT")


class Part(NamedTuple):
    """One run of another suite.

    Attributes:
        suite: Which.
        options: With what.
    """

    suite: Suite[Any]
    options: Any


class Composite(Generic[OptionsT]):
    """Runs of other suites, one after another; their rows are the rows. See `suites.base.Suite`.

    Attributes:
        name: As on the command line.
        summary: One line for `bench list suites`.
    """

    name: str
    summary: str

    def parts(self, options: OptionsT) -> list[Part]:
        """The runs that `options` ask for, in order."""
        raise NotImplementedError

    def plan(self, options: OptionsT) -> list[Cell]:
        """The cells of all parts, each once."""
        return list({cell.key: cell for part in self.parts(options) for cell in part.suite.plan(part.options)}.values())

    def run(
        self, options: OptionsT, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Run the parts; each row is stored by the suite that it is of, and yielded once.

        All parts are planned first, so that what cannot be meant is told before anything is measured.
        """
        parts, planned = self.parts(options), {cell.key for cell in self.plan(options)}
        yielded: set[str] = set()

        def relay(event: Event) -> None:
            # A suite may leave more rows than it planned, as that of the noise floor.
            if progress is not None:
                progress(Event(len(yielded & planned), len(planned), event.message))

        for part in parts:
            for row in part.suite.run(part.options, store=store, progress=relay, resume=resume):
                if row.cell.key not in yielded:
                    yielded.add(row.cell.key)
                    yield row
