"""One subject of a sweep: its cells, and a worker process of its own while it lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...results.provenance import collect
from ...results.schema import Cell, Row
from .environment import worker_environment
from .failed import failure_of
from .failures import Failure
from .process import Worker, WorkerBabbledError, WorkerDiedError, WorkerHungError


class SubjectError(Exception):
    """A worker gave a failure for an answer, or none at all."""

    def __init__(self, failure: Failure, stderr_tail: list[str]) -> None:
        super().__init__(failure.error)
        self.failure = failure
        self.stderr_tail = stderr_tail


@dataclass
class Subject:
    """One thing to measure in one setting.

    Attributes:
        label: Its name among the peers of a row.
        params: The cells' parameters without the resolution, and the backbone's name.
        timeout_s: Seconds after which a silent worker is given up.
        module: What the worker process runs.
        cells: Its cells by resolution.
        barrier: The row that makes larger sizes pointless.
        unbuildable: Why it cannot be built at all.
    """

    label: str
    params: dict[str, Any]
    timeout_s: float
    module: str = ""
    cells: dict[int, Cell] = field(default_factory=dict)
    worker: Worker | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    barrier: Row | None = None
    unbuildable: SubjectError | None = None

    @property
    def alive(self) -> bool:
        """Whether its worker can be asked."""
        return self.worker is not None and self.worker.alive

    def build(self) -> None:
        """Start a worker and build the model, unless both are there."""
        if self.unbuildable is not None:
            raise self.unbuildable
        if self.alive:
            return
        self.worker = self.start()
        try:
            self.facts = self.ask("build", params=self.params)
        except SubjectError as error:
            self.unbuildable = error
            raise

    def start(self) -> Worker:
        """A new worker process."""
        return Worker(worker_environment(self.params["threads"]), module=self.module)

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer.

        Raises:
            SubjectError: The answer is a failure, or the worker died or hung.
        """
        assert self.worker is not None
        try:
            answer = self.worker.ask({"op": operation, **arguments}, timeout_s=self.timeout_s)
        except (WorkerBabbledError, WorkerDiedError, WorkerHungError) as error:
            raise SubjectError(failure_of(error), error.stderr_tail) from error
        if answer.get("status") == "ok":
            return answer
        try:
            failure = Failure(**answer)
        except TypeError:
            # Whatever else wrote this, the worker's own answer may follow and would be taken for the next one.
            self.kill()
            failure = failure_of(WorkerBabbledError([]))
        raise SubjectError(failure, [])

    def kill(self) -> None:
        """End its worker at once, if it has one."""
        if self.worker is not None:
            self.worker.kill()

    def provenance(self) -> Mapping[str, Any]:
        """What the worker told of itself; of this process where it came to no answer."""
        return self.facts.get("provenance") or collect(self.params["device"])
