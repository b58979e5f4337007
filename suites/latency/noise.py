"""The noise floor of a sweep: two processes with the same fixed work, timed now and then beside the subjects."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from ...results.provenance import collect
from ...results.schema import Cell, Row
from ...results.statistics import median_interval, paired_ratio
from ..runner.failed import failed_row
from ..runner.sampling import Sampling, Timing
from ..runner.subject import Subject, SubjectError
from .cells import PROTOCOL, SUITE_NAME, TWINS

# By the side of a matrix that the device needs some milliseconds for.
NAMES = {"cpu": "sentinel:768", "cuda": "sentinel:4096"}
_TARGET = f"{__package__}.sentinel:build"
_SIDE = 32
_ROUNDS = 6
_BLOCK_S = {"cpu": 0.1, "cuda": 0.02}
_WARMUP_S = 2.0


class Noise:
    """Sentinels of one sweep.

    Args:
        device: As cells have it.
        threads: As cells have it.
        seed: As cells have it.
        sweep: Name of the sweep, which all its rows bear.
        timeout_s: Seconds after which a silent worker is given up.
        module: What the workers run.
    """

    def __init__(self, *, device: str, threads: int, seed: int, sweep: str, timeout_s: float, module: str) -> None:
        kind = device.partition(":")[0]
        params = {"stage": "backbone", "batch": 1, "dtype": "fp32", "device": device, "threads": threads}
        params |= {"attention": None, "channels_last": False, "compile": "none", "seed": seed}
        params |= {"backbone": NAMES[kind], "subject": _TARGET}
        self._subjects = [Subject(f"sentinel {twin}", params, timeout_s, module=module) for twin in TWINS]
        shown = {"measure": "noise", "device": device, "threads": threads, "dtype": "fp32", "protocol": PROTOCOL}
        self._cell = Cell(SUITE_NAME, NAMES[kind], shown)
        self._block_s = _BLOCK_S[kind]
        self._sweep = sweep
        self._shuffler = random.Random(seed)
        self._blocks: dict[str, list[list[list[float]]]] = {}
        self._iterations = 0
        self._error: SubjectError | None = None

    def measure(self, moment: str) -> None:
        """Let the two take turns for some rounds; a fault ends the watching, never the sweep."""
        if self._error is not None:
            return
        try:
            if not self._iterations:
                self._iterations = self._prepare()
            rounds = []
            for _ in range(_ROUNDS):
                taken = {}
                for place in self._shuffler.sample(range(len(TWINS)), len(TWINS)):
                    taken[place] = self._subjects[place].ask("block", iterations=self._iterations)["wall_ms"]
                rounds.append([taken[place] for place in range(len(TWINS))])
            self._blocks[moment] = rounds
        except SubjectError as error:
            self._error = error
            self.close()

    def row(self) -> Row:
        """What was found; see `floor_of`."""
        schedule = {"sweep": self._sweep, "iterations": self._iterations}
        if self._error is not None:
            provenance = {**self._subjects[0].provenance(), "schedule": schedule}
            return failed_row(self._cell, self._error.failure, provenance, self._error.stderr_tail)
        provenance = dict(self._subjects[0].facts.get("provenance") or collect(self._cell.params["device"]))
        return Row(self._cell, "ok", floor_of(self._blocks), dict(self._blocks), {**provenance, "schedule": schedule})

    def close(self) -> None:
        """End the processes."""
        for subject in self._subjects:
            subject.kill()

    def _prepare(self) -> int:
        iteration_s = 0.0
        for subject in self._subjects:
            subject.build()
            iteration_s = subject.ask("prepare", resolution=_SIDE, warmup_s=_WARMUP_S)["iteration_s"]
        return Sampling(Timing(block_s=self._block_s), iteration_s).iterations


def floor_of(readings: dict[str, Any]) -> dict[str, float | int | None]:
    """The noise floor, a fraction.

    It is the larger of two: how far the medians of one process lie apart over the sweep, and how far from 1 the
    interval of the ratio of two equal processes reaches.

    Args:
        readings: For each moment rounds of `[block of a, block of b]`, in ms.
    """
    medians = [float(np.median([np.median(first) for first, _ in rounds])) for rounds in readings.values()]
    first, second = (
        dict(enumerate(pair[place] for rounds in readings.values() for pair in rounds)) for place in range(len(TWINS))
    )
    ratio = paired_ratio(first, second) or median_interval([1.0])
    drift = max(medians) / min(medians) - 1
    return {
        "sentinel_ms": float(np.median(medians)),
        "drift": drift,
        "aa_ratio": ratio.value,
        "aa_ratio_low": ratio.low,
        "aa_ratio_high": ratio.high,
        "noise_floor": max(drift, ratio.high - 1, 1 - ratio.low),
        "rounds": len(first),
    }
