"""When to measure and when to stop: blocks of iterations, warm-up, the interleaved rounds. No torch, no process."""

from __future__ import annotations

import gc
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ...results.statistics import median_interval

# Of two equals with three blocks each, all of one lie below all of the other in one case of ten; with four in 1 of 35.
MIN_SAMPLES = 4
_STABLE = 0.1
# Calls that are slower than in the warm-up must not cost the last round: with fewer than six none is paired.
_MARGIN = 0.8
T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """How long and how often to measure.

    Attributes:
        rounds: Blocks of a cell at least, time permitting.
        max_rounds: Blocks of a cell at most.
        block_s: Seconds that a block lasts at least, time permitting.
        budget_s: Seconds that the blocks of a cell may take together; four samples are taken in any case.
        warmup_s: Seconds that the warm-up may take after the first call.
        half_width: Half of the confidence interval over the median at which a cell has converged.
        timeout_s: Seconds without an answer after which a worker is given up.
        interleave: Let all subjects take turns; else one after the other.
    """

    rounds: int = 6
    max_rounds: int = 30
    block_s: float = 0.5
    budget_s: float = 30.0
    warmup_s: float = 5.0
    half_width: float = 0.02
    timeout_s: float = 900.0
    interleave: bool = True


class WarmUp(NamedTuple):
    """Outcome of a warm-up.

    Attributes:
        iterations: Calls made.
        iteration_s: Median duration of the calls it ended with.
        stable: Whether the last calls agreed with the ones before; None where time allowed too few to say.
    """

    iterations: int
    iteration_s: float
    stable: bool | None


def warm_up(step: Callable[[], float], *, limit_s: float, least_s: float = 0.3, least: int = 4) -> WarmUp:
    """Call `step`, which returns its own duration in seconds, until two halves agree or `limit_s` is spent.

    The calls are split in the middle; while the medians of the halves differ by more than a tenth, the first half is
    dropped as not yet warm and more calls are made (after pyperf's calibration of warm-ups).
    """
    kept: list[float] = []
    made, spent, kept_s, wanted = 0, 0.0, 0.0, least
    stable: bool | None = None
    while True:
        kept.append(step())
        made, spent, kept_s = made + 1, spent + kept[-1], kept_s + kept[-1]
        half = len(kept) // 2
        if len(kept) >= wanted and kept_s >= least_s:
            early, late = statistics.median(kept[:half]), statistics.median(kept[half:])
            if abs(late - early) <= _STABLE * early:
                return WarmUp(made, statistics.median(kept), stable=True)
            stable = False
            kept = kept[half:]
            kept_s, wanted, half = sum(kept), max(least, 2 * len(kept)), len(kept) // 2
        if spent + kept[-1] > limit_s:
            return WarmUp(made, statistics.median(kept[half:]), stable=stable)


def time_block(step: Callable[[], T], iterations: int) -> list[T]:
    """Results of `iterations` calls of `step`, with the garbage collector held off."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        return [step() for _ in range(iterations)]
    finally:
        if collecting:
            gc.enable()


@dataclass
class Sampling:
    """The blocks of one cell so far.

    Args:
        timing: The rules.
        iteration_s: Duration of one iteration, from the warm-up.
    """

    timing: Timing
    iteration_s: float
    blocks: list[list[float]] = field(default_factory=list)
    spent_s: float = 0.0
    converged: bool = False

    @property
    def iterations(self) -> int:
        """Iterations of one block: as many as fill it, fewer where the budget would not hold the rounds."""
        fill = math.ceil(self.timing.block_s / self.iteration_s)
        afford = math.floor(_MARGIN * self.timing.budget_s / (self.timing.rounds * self.iteration_s))
        return max(1, min(fill, afford))

    def add(self, block_ms: list[float]) -> None:
        """Take in one block of durations in milliseconds."""
        self.blocks.append(block_ms)
        self.spent_s += sum(block_ms) / 1000
        if len(self.blocks) >= max(self.timing.rounds, MIN_SAMPLES):
            median = median_interval(self.blocks)
            self.converged = (median.high - median.low) / 2 <= self.timing.half_width * median.value

    @property
    def finished(self) -> bool:
        """Whether another block is not wanted: converged, or out of budget."""
        count = len(self.blocks)
        if self.converged or count >= self.timing.max_rounds:
            return True
        next_s = self.spent_s / count if count else 0.0
        return count >= MIN_SAMPLES and self.spent_s + next_s > self.timing.budget_s


def rounds(samplings: dict[T, Sampling], seed: str) -> Iterator[tuple[T, int, int]]:
    """Whose block comes next: `(subject, round, place in the round)`, shuffled anew in every round.

    A subject that is finished leaves; one that is removed from `samplings` in between does too.
    """
    shuffler = random.Random(seed)
    index = 0
    while active := [name for name, sampling in samplings.items() if not sampling.finished]:
        for place, name in enumerate(shuffler.sample(active, len(active))):
            if name in samplings:
                yield name, index, place
        index += 1
