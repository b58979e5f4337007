"""The sweep: workers of all subjects take turns at one resolution after another, and every end of a cell is a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...results.schema import Cell, Row, canonical_json
from ..runner.failed import failed_row, skipped_row
from ..runner.failures import Failure
from ..runner.health import BlockHealth, Health, MachineHealth
from ..runner.nvml import Gpu
from ..runner.sampling import MIN_SAMPLES, Sampling, Timing, rounds
from ..runner.subject import Subject, SubjectError
from .options import AUTO
from .rows import Trial, measured_row
from .search import Found, Probe, best_batch

MODULE = f"{__package__}.worker"
# The next subject may need several times what this one holds, so idle memory is kept only where it is plentiful.
_PLENTIFUL = 4
_BARRIERS = ("oom", "timeout")
_MOST_REPEATS = 2
# Models at these settings are compared with each other, so they take turns; the rest follows one after the other.
_PANEL = ("stage", "prompts", "dtype", "tf32", "batch")
_TOLD = ("attention", "compile", "stage", "prompts", "refine", "twin")


def subjects_of(cells: Sequence[Cell], timing: Timing) -> list[Subject]:
    """Cells grouped into subjects: all that differ in the resolution only."""
    found: dict[str, Subject] = {}
    for cell in cells:
        params = {name: value for name, value in cell.params.items() if name != "res"} | {"backbone": cell.backbone}
        label = f"{_name(cell.backbone, params)} {params['dtype']}"
        subject = found.setdefault(canonical_json(params), Subject(label, params, timing.timeout_s, module=MODULE))
        subject.cells[cell.params["res"]] = cell
    return list(found.values())


def panels_of(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Subjects that take turns with each other."""
    found: dict[str, list[Subject]] = {}
    for subject in subjects:
        key = canonical_json([subject.params.get(name) for name in _PANEL])
        found.setdefault(key, []).append(subject)
    return list(found.values())


def _name(backbone: str, params: dict[str, Any]) -> str:
    plain = {"compile": "none", "stage": "backbone"}
    told = [str(params[name]) for name in _TOLD if params.get(name) not in (None, plain.get(name))]
    return f"{backbone} ({', '.join(told)})" if told else backbone


def watch(subject: Subject, load_before: float | None) -> Health:
    """Watch the machine that a built subject runs on."""
    gpu = None if subject.params["device"] == "cpu" else Gpu(subject.facts.get("gpu"))
    return MachineHealth(gpu, load_before=load_before)


class Sweep:
    """Measures the cells of some subjects, which take turns.

    Args:
        subjects: Who takes turns.
        timing: How long and how often to measure.
        name: Of the sweep; all its rows bear it.
        panel: Which of the sweep's groups of subjects this is.
        load_before: The machine's load before the sweep began.
        keep: Called with every row as soon as it is made; stores it.
        say: Called with one line at every step.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        timing: Timing,
        *,
        name: str,
        panel: int,
        load_before: float | None,
        keep: Callable[[Row], None],
        say: Callable[[str], None],
    ) -> None:
        self._subjects = subjects
        self._timing = timing
        self._name, self._panel, self._load_before = name, panel, load_before
        self._keep = keep
        self._say = say
        self._health: Health | None = None
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
            if subject.alive:
                self._let_go(subject, last=resolution >= max(subject.cells))

    def _build(self, subject: Subject) -> None:
        """Have a worker with the model, and its output held against the reference's."""
        subject.build()
        if "gate" not in subject.facts:
            try:
                subject.facts["gate"] = subject.ask("check", side=min(subject.cells))
                _refuse(subject.facts["gate"]["wrong"])
            except SubjectError as error:
                subject.unbuildable = error
                raise
        self._health = self._health or watch(subject, self._load_before)

    def _prepare(self, subject: Subject, cell: Cell) -> Trial:
        resolution = cell.params["res"]
        self._say(f"{subject.label} at {resolution}: warm-up")
        self._build(subject)
        found = self._search(subject, resolution) if cell.params["batch"] == AUTO else None
        how = {"batch": found.batch, "queued": True} if found else {}
        prepared = subject.ask("prepare", resolution=resolution, warmup_s=self._timing.warmup_s, **how)
        if prepared["wrong"]:
            subject.ask("release")
            _refuse(prepared["wrong"])
        trial = Trial(subject, cell, prepared, Sampling(self._timing, prepared["iteration_s"]), found)
        self._rest_if_tight(trial)
        return trial

    def _search(self, subject: Subject, resolution: int) -> Found:
        """The batch of the best throughput.

        Raises:
            SubjectError: Not even one image fits, or a worker failed for another reason than memory.
        """
        failures: list[SubjectError] = []
        longest = self._timing.budget_s / MIN_SAMPLES

        def probe(batch: int) -> Probe | None:
            self._say(f"{subject.label} at {resolution}: batch {batch}")
            try:
                self._build(subject)
                told = subject.ask("probe", resolution=resolution, batch=batch, least_s=self._timing.block_s)
            except SubjectError as error:
                failures.append(error)
                if error.failure.status != "oom":
                    raise
                return None
            return Probe(told["images_per_s"], last=told["pass_s"] > longest)

        found = best_batch(probe)
        if found is None:
            raise failures[-1]
        self._build(subject)
        return found

    def _take_turns(self, trials: dict[str, Trial], resolution: int) -> Iterator[Row]:
        peers = [trial.subject.label for trial in trials.values()]
        samplings = {key: trial.sampling for key, trial in trials.items()}
        seed = next(iter(trials.values())).subject.params["seed"] if trials else 0
        for key, turn, place in rounds(samplings, f"{seed}:{resolution}"):
            trial = trials[key]
            self._say(f"{trial.subject.label} at {resolution}: round {turn + 1}")
            try:
                answer, seen = self._block(trial, turn)
                self._rest_if_tight(trial)
            except SubjectError as error:
                del samplings[key]
                yield self._finish(self._failed(trial.subject, trial.cell, error))
                continue
            trial.sampling.add(answer["wall_ms"])
            trial.answers.append(answer)
            trial.turns.append((turn, place))
            trial.health.append(seen)
            if trial.sampling.finished:
                assert self._health is not None
                yield self._finish(
                    measured_row(
                        trial,
                        peers=peers,
                        sweep=self._name,
                        turns=f"{self._name}:{self._panel}:{resolution}",
                        health=self._health.facts(),
                    )
                )

    def _block(self, trial: Trial, turn: int) -> tuple[dict[str, Any], BlockHealth]:
        """A block, measured again while the machine disturbs it; the last one counts, with its mark."""
        assert self._health is not None
        for repeats in range(_MOST_REPEATS + 1):
            self._health.start()
            answer = trial.subject.ask("block", iterations=trial.sampling.iterations)
            seen = self._health.stop()
            if seen.mark is None or repeats == _MOST_REPEATS:
                break
            trial.again.append({"round": turn, "ms": answer["wall_ms"], "mark": seen.mark})
        return answer, seen

    def _rest_if_tight(self, trial: Trial) -> None:
        alone = sum(trial.cell.params["res"] in subject.cells for subject in self._subjects) == 1
        if not alone and _PLENTIFUL * trial.prepared["held_bytes"] > trial.prepared["available_bytes"]:
            trial.subject.ask("rest")

    def _failed(self, subject: Subject, cell: Cell, error: SubjectError) -> Row:
        row = failed_row(cell, error.failure, subject.provenance(), error.stderr_tail)
        if cell.params["device"] != "cpu":
            # What an error left on a GPU, or half a graph, is not to touch the next size.
            subject.kill()
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
            subject.kill()


def _refuse(wrong: str) -> None:
    if wrong:
        raise SubjectError(Failure("wrong", wrong), [])
