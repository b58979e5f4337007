"""The sweep: implementations that do the same work are checked one by one, then take turns."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...results.provenance import collect
from ...results.schema import Cell, Row, canonical_json
from ..runner.environment import default_threads, worker_environment
from ..runner.failed import failed_row
from ..runner.failures import Failure
from ..runner.process import Worker
from ..runner.sampling import Sampling, Timing, rounds
from ..runner.subject import Subject, SubjectError
from .catalogue import PLAIN, refusal, truth_of
from .options import DTYPES
from .rows import measured_row, wrong_row

MODULE = f"{__package__}.worker"
# A call of microseconds would fill the store with samples that say nothing more.
_MOST_SAMPLES = 200
_SHARED = ("device", "seed", "source")


class Implementation(Subject):
    """One implementation of an operator, in a worker of its own."""

    def start(self) -> Worker:
        return Worker(worker_environment(self.params["threads"]), module=MODULE)

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return super().ask(operation, **arguments)
        except SubjectError:
            # What an error left on a GPU, or half a graph, is not to touch the next case.
            if self.worker is not None and self.params["device"] != "cpu":
                self.worker.kill()
            raise


@dataclass
class Trial:
    """A cell while it is measured."""

    implementation: Implementation
    cell: Cell
    prepared: dict[str, Any]
    sampling: Sampling
    answers: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Truth:
    """Files of results to compare with, and about how long the reference takes at the size that is timed."""

    exact: str
    agreed: str | None
    seconds: float


class Sweep:
    """Measures cells, those that differ in the implementation only side by side.

    Args:
        cells: What to measure.
        timing: How long and how often.
        patience_s: The reference is not timed where a call of it would take longer.
        keep: Called with every row as soon as it is made; stores it.
        say: Called with one line at every step.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        timing: Timing,
        *,
        patience_s: float,
        keep: Callable[[Row], None],
        say: Callable[[str], None],
    ) -> None:
        self._groups = _groups(cells)
        self._threads = max([cell.params["threads"] or default_threads() for cell in cells], default=1)
        self._timing, self._patience_s = timing, patience_s
        self._keep, self._say = keep, say
        self._alive: dict[str, Implementation] = {}
        self._truths: dict[str, Truth | SubjectError] = {}
        self._begun: dict[str, Cell] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    def run(self) -> Iterator[Row]:
        """Rows as they are made. An interruption stores what was begun as `interrupted`; no worker outlives this."""
        operator = None
        with tempfile.TemporaryDirectory(prefix="linbench-") as folder:
            try:
                for group in self._groups:
                    if group[0].backbone != operator:
                        self._close(but="rates")
                        operator = group[0].backbone
                    yield from self._compare(group, Path(folder))
            except (KeyboardInterrupt, GeneratorExit):
                self._close(kill=True)
                for cell in [*self._begun.values()]:
                    self._finish(self._none(cell, Failure("interrupted", "interrupted; run again to resume")))
                raise
            finally:
                self._close(kill=True)

    def _compare(self, group: list[Cell], folder: Path) -> Iterator[Row]:
        able = []
        for cell in group:
            params = cell.params
            reason = refusal(cell.backbone, params["backend"], params["device"], DTYPES[params["dtype"]])
            if reason:
                yield self._finish(self._none(cell, Failure("unsupported", reason)))
            else:
                able.append(cell)
        if not able:
            return
        self._begun = {cell.key: cell for cell in able}
        title = _title(able[0])
        self._say(f"{title}: reference")
        try:
            truth = self._truth(able[0], folder)
            self._say(f"{title}: rates")
            rates = self._ask("rates", able[0], "rates", params=_params(able[0]))
        except SubjectError as error:
            for cell in able:
                yield self._finish(self._failed(cell, error, before="neither checked nor timed: "))
            return
        trials: dict[str, Trial] = {}
        # The first to arrive at the full size is what the others are compared with there.
        for cell in sorted(able, key=lambda cell: cell.params["backend"] not in PLAIN):
            outcome = self._prepare(cell, truth, title)
            if isinstance(outcome, Row):
                yield self._finish(outcome)
            else:
                trials[cell.key] = outcome
        yield from self._take_turns(trials, rates, title)
        self._release()

    def _truth(self, cell: Cell, folder: Path) -> Truth:
        """Float64 results for a group, computed once for all launches and numbers of threads."""
        shared = {name: cell.params[name] for name in ("case", "shape", "dtype", "direction")}
        key = canonical_json({"operator": cell.backbone, **shared})
        if key not in self._truths:
            for old in folder.iterdir():
                old.unlink()
            exact, agreed = folder / f"exact-{len(self._truths)}.pt", folder / f"agreed-{len(self._truths)}.pt"
            try:
                told = self._ask(truth_of(cell.backbone), cell, "truth", params=_params(cell), path=str(exact))
            except SubjectError as error:
                self._truths[key] = error
            else:
                self._truths[key] = Truth(str(exact), str(agreed) if told["smaller"] else None, told["full_s"])
        found = self._truths[key]
        if isinstance(found, SubjectError):
            raise found
        return found

    def _prepare(self, cell: Cell, truth: Truth, title: str) -> Trial | Row:
        backend = cell.params["backend"]
        if backend == "reference" and truth.agreed is not None:
            return self._none(cell, Failure("skipped", "not timed: the reference is for smaller sizes than this"))
        if backend == "reference" and truth.seconds > self._patience_s:
            error = f"not timed: a call of the reference would take longer than {self._patience_s:g} s (--patience)"
            return self._none(cell, Failure("skipped", error))
        self._say(f"{title}: {backend}, check and warm-up")
        try:
            prepared = self._ask(
                backend,
                cell,
                "prepare",
                params=_params(cell),
                truth=truth.exact,
                agreed=truth.agreed,
                warmup_s=self._timing.warmup_s,
            )
        except SubjectError as error:
            return self._failed(cell, error)
        implementation = self._alive[backend]
        if prepared["wrong"]:
            return wrong_row(cell, prepared, implementation.provenance())
        least_s = self._timing.block_s / _MOST_SAMPLES
        return Trial(implementation, cell, prepared, Sampling(self._timing, max(prepared["iteration_s"], least_s)))

    def _take_turns(self, trials: dict[str, Trial], rates: dict[str, Any], title: str) -> Iterator[Row]:
        peers = [trial.cell.params["backend"] for trial in trials.values()]
        samplings = {key: trial.sampling for key, trial in trials.items()}
        for key, turn, place in rounds(samplings, title):
            trial = trials[key]
            self._say(f"{title}: round {turn + 1}")
            try:
                answer = trial.implementation.ask("block", iterations=trial.sampling.iterations)
            except SubjectError as error:
                del samplings[key]
                yield self._finish(self._failed(trial.cell, error))
                continue
            trial.sampling.add(answer["ms"])
            trial.answers.append(answer)
            trial.turns.append((turn, place))
            if trial.sampling.finished:
                row = measured_row(
                    trial.cell,
                    facts=trial.implementation.facts,
                    prepared=trial.prepared,
                    rates=rates,
                    sampling=trial.sampling,
                    answers=trial.answers,
                    turns=trial.turns,
                    peers=peers,
                )
                yield self._finish(row)

    def _ask(self, name: str, cell: Cell, operation: str, **arguments: Any) -> dict[str, Any]:
        """Ask the worker of one implementation, or the one called `rates`; starts it where it is not alive."""
        if name not in self._alive:
            params = {shared: cell.params[shared] for shared in _SHARED}
            params |= {"operator": cell.backbone, "backend": name, "threads": self._threads}
            self._alive[name] = Implementation(name, params, self._timing.timeout_s)
        self._alive[name].build()
        return self._alive[name].ask(operation, **arguments)

    def _failed(self, cell: Cell, error: SubjectError, before: str = "") -> Row:
        failure = error.failure._replace(error=before + error.failure.error)
        implementation = self._alive.get(cell.params["backend"])
        provenance = implementation.provenance() if implementation else self._provenance(cell)
        return failed_row(cell, failure, provenance, error.stderr_tail)

    def _none(self, cell: Cell, failure: Failure) -> Row:
        return Row(cell, failure.status, {}, {}, self._provenance(cell), failure.error)

    def _provenance(self, cell: Cell) -> dict[str, Any]:
        """Of this process, for rows that no worker had a part in."""
        device = cell.params["device"]
        if device not in self._facts:
            self._facts[device] = collect(device)
        return self._facts[device]

    def _finish(self, row: Row) -> Row:
        self._begun.pop(row.cell.key, None)
        self._keep(row)
        return row

    def _release(self) -> None:
        """Give the memory of a comparison's tensors back; the processes stay."""
        for implementation in self._alive.values():
            if implementation.worker is not None and implementation.worker.alive:
                # One that dies of it is started anew for the next case.
                with contextlib.suppress(SubjectError):
                    implementation.ask("release")

    def _close(self, *, but: str = "", kill: bool = False) -> None:
        for name in [name for name in self._alive if name != but]:
            worker = self._alive.pop(name).worker
            if worker is not None:
                (worker.kill if kill else worker.close)()


def _params(cell: Cell) -> dict[str, Any]:
    return {"operator": cell.backbone, **cell.params}


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that differ in the implementation only, in the order of their first."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        shared = {name: value for name, value in cell.params.items() if name != "backend"}
        found.setdefault(canonical_json({"operator": cell.backbone, **shared}), []).append(cell)
    return [*found.values()]


def _title(cell: Cell) -> str:
    params = cell.params
    threads = "" if params["threads"] is None else f", {params['threads']} threads"
    launch = " graph" if params["launch"] == "graph" else ""
    return f"{cell.backbone} {params['case']} {params['direction']}{launch} {params['dtype']}{threads}"
