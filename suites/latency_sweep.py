"""The sweep: workers of all subjects take turns at one resolution after another, and every end of a cell is a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..results.provenance import collect
from ..results.schema import Cell, Row, canonical_json
from .latency_rows import failed_row, failure_of, measured_row, skipped_row
from .runner.environment import worker_environment
from .runner.failures import Failure
from .runner.process import Worker, WorkerDiedError, WorkerHungError
from .runner.sampling import Sampling, Timing, rounds

# The next subject may need several times what this one holds, so idle memory is kept only where it is plentiful.
_PLENTIFUL = 4
_BARRIERS = ("oom", "timeout")


class SubjectError(Exception):
    """A worker gave a failure for an answer, or none at all."""

    def __init__(self, failure: Failure, stderr_tail: list[str]) -> None:
        super().__init__(failure.error)
        self.failure = failure
        self.stderr_tail = stderr_tail


@dataclass
class Subject:
    """One model in one setting, with a worker of its own while it lives.

    Attributes:
        label: Its name among the peers of a row.
        params: The cells' parameters without the resolution, and the backbone's name.
        cells: Its cells by resolution.
        barrier: The row that makes larger sizes pointless.
        unbuildable: Why it cannot be built at all.
    """

    label: str
    params: dict[str, Any]
    timeout_s: float
    cells: dict[int, Cell] = field(default_factory=dict)
    worker: Worker | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    barrier: Row | None = None
    unbuildable: SubjectError | None = None

    def build(self) -> None:
        """Start a worker and build the model, unless both are there."""
        if self.unbuildable is not None:
            raise self.unbuildable
        if self.worker is not None and self.worker.alive:
            return
        self.worker = self.start()
        try:
            self.facts = self.ask("build", params=self.params)
        except SubjectError as error:
            self.unbuildable = error
            raise

    def start(self) -> Worker:
        """A new worker process."""
        return Worker(worker_environment(self.params["threads"]))

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer.

        Raises:
            SubjectError: The answer is a failure, or the worker died or hung.
        """
        assert self.worker is not None
        try:
            answer = self.worker.ask({"op": operation, **arguments}, timeout_s=self.timeout_s)
        except (WorkerDiedError, WorkerHungError) as error:
            raise SubjectError(failure_of(error), error.stderr_tail) from error
        if answer["status"] != "ok":
            raise SubjectError(Failure(**answer), [])
        return answer

    def provenance(self) -> Mapping[str, Any]:
        """What the worker told of itself; of this process where it came to no answer."""
        return self.facts.get("provenance") or collect(self.params["device"])


@dataclass
class Trial:
    """A cell while it is measured."""

    subject: Subject
    cell: Cell
    prepared: dict[str, Any]
    sampling: Sampling
    answers: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple[int, int]] = field(default_factory=list)


def subjects_of(cells: Sequence[Cell], timing: Timing) -> list[Subject]:
    """Cells grouped into subjects: all that differ in the resolution only."""
    found: dict[str, Subject] = {}
    for cell in cells:
        params = {name: value for name, value in cell.params.items() if name != "res"} | {"backbone": cell.backbone}
        kind = f" ({params['attention']})" if params.get("attention") else ""
        subject = found.setdefault(
            canonical_json(params), Subject(f"{cell.backbone}{kind} {params['dtype']}", params, timing.timeout_s)
        )
        subject.cells[cell.params["res"]] = cell
    return list(found.values())


class Sweep:
    """Measures the cells of some subjects, which take turns.

    Args:
        subjects: Who takes turns.
        timing: How long and how often to measure.
        keep: Called with every row as soon as it is made; stores it.
        say: Called with one line at every step.
    """

    def __init__(
        self, subjects: Sequence[Subject], timing: Timing, *, keep: Callable[[Row], None], say: Callable[[str], None]
    ) -> None:
        self._subjects = subjects
        self._timing = timing
        self._keep = keep
        self._say = say
        self._begun: dict[str, Cell] = {}

    def run(self) -> Iterator[Row]:
        """Rows as they are made. An interruption stores what was begun as `interrupted`; no worker outlives this."""
        try:
            for resolution in sorted({size for subject in self._subjects for size in subject.cells}):
                yield from self._at(resolution)
        except (KeyboardInterrupt, GeneratorExit):
            self._kill()
            for cell in [*self._begun.values()]:
                subject = next(one for one in self._subjects if cell in one.cells.values())
                told = subject.facts.get("provenance") or {}
                self._finish(Row(cell, "interrupted", provenance=dict(told), error="interrupted; run again to resume"))
            raise
        finally:
            self._kill()

    def _at(self, resolution: int) -> Iterator[Row]:
        trials: dict[str, Trial] = {}
        for subject in self._subjects:
            cell = subject.cells.get(resolution)
            if cell is None:
                continue
            if subject.barrier is not None:
                yield self._finish(skipped_row(cell, subject.barrier))
                continue
            self._begun[cell.key] = cell
            try:
                trials[cell.key] = self._prepare(subject, cell)
            except SubjectError as error:
                yield self._finish(self._failed(subject, cell, error))
        yield from self._take_turns(trials, resolution)
        for subject in self._subjects:
            if subject.worker is not None and subject.worker.alive:
                self._let_go(subject, last=resolution >= max(subject.cells))

    def _prepare(self, subject: Subject, cell: Cell) -> Trial:
        resolution = cell.params["res"]
        self._say(f"{subject.label} at {resolution}: warm-up")
        subject.build()
        prepared = subject.ask("prepare", resolution=resolution, warmup_s=self._timing.warmup_s)
        if not prepared["finite"]:
            subject.ask("release")
            raise SubjectError(Failure("wrong", "the output holds values that are not finite; no time is given"), [])
        sampling = Sampling(self._timing, prepared["iteration_s"])
        trial = Trial(subject, cell, prepared, sampling)
        self._rest_if_tight(trial)
        return trial

    def _take_turns(self, trials: dict[str, Trial], resolution: int) -> Iterator[Row]:
        peers = [trial.subject.label for trial in trials.values()]
        samplings = {key: trial.sampling for key, trial in trials.items()}
        seed = next(iter(trials.values())).subject.params["seed"] if trials else 0
        for key, turn, place in rounds(samplings, f"{seed}:{resolution}"):
            trial = trials[key]
            self._say(f"{trial.subject.label} at {resolution}: round {turn + 1}")
            try:
                answer = trial.subject.ask("block", iterations=trial.sampling.iterations)
                self._rest_if_tight(trial)
            except SubjectError as error:
                del samplings[key]
                yield self._finish(self._failed(trial.subject, trial.cell, error))
                continue
            trial.sampling.add(answer["wall_ms"])
            trial.answers.append(answer)
            trial.turns.append((turn, place))
            if trial.sampling.finished:
                yield self._finish(
                    measured_row(
                        trial.cell,
                        facts=trial.subject.facts,
                        prepared=trial.prepared,
                        sampling=trial.sampling,
                        answers=trial.answers,
                        turns=trial.turns,
                        peers=peers,
                    )
                )

    def _rest_if_tight(self, trial: Trial) -> None:
        alone = sum(trial.cell.params["res"] in subject.cells for subject in self._subjects) == 1
        if not alone and _PLENTIFUL * trial.prepared["held_bytes"] > trial.prepared["available_bytes"]:
            trial.subject.ask("rest")

    def _failed(self, subject: Subject, cell: Cell, error: SubjectError) -> Row:
        row = failed_row(cell, error.failure, subject.provenance(), error.stderr_tail)
        if row.status in _BARRIERS:
            subject.barrier = row
        return row

    def _finish(self, row: Row) -> Row:
        self._begun.pop(row.cell.key, None)
        self._keep(row)
        return row

    def _let_go(self, subject: Subject, *, last: bool) -> None:
        assert subject.worker is not None
        if last or subject.barrier is not None:
            subject.worker.close()
            return
        try:
            subject.ask("release")
        except SubjectError:
            # It died between two cells: the next one starts a new worker.
            subject.worker.kill()

    def _kill(self) -> None:
        for subject in self._subjects:
            if subject.worker is not None:
                subject.worker.kill()
