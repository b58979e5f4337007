"""One implementation inside its worker: checked against the truth, then timed, one case after another."""

from __future__ import annotations

import gc
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...kernels.cases import OperatorCase
from ...results.provenance import collect
from ..runner.environment import recorded_environment
from ..runner.sampling import warm_up
from .call import Call, Named
from .catalogue import find_case
from .clocks import Clock, EventClock, GraphClock, HostClock
from .gate import TOLERANCES, Errors, errors, verdict
from .options import DTYPES, parse_sizes
from .rates import Rates

# Two right results may be off to opposite sides.
_BETWEEN_PEERS = 2.0
_LEAST_WARMUP_S = {"cpu": 0.1, "cuda": 0.01}


@dataclass(frozen=True)
class Trial:
    """A cell's parameters, read for use."""

    case: OperatorCase
    direction: str
    dtype: torch.dtype
    launch: str
    threads: int | None

    @classmethod
    def of(cls, params: dict[str, Any]) -> Trial:
        case = find_case(params["source"], params["operator"], params["case"]).resized(parse_sizes(params["shape"]))
        return cls(case, params["direction"], DTYPES[params["dtype"]], params["launch"], params["threads"])


class Session:
    """An implementation of an operator on one device.

    Args:
        params: `operator`, `backend`, `device` and `seed`, which all its cells share.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._device = torch.device(params["device"])
        self._rates = Rates(self._device)
        self._clock: Clock | None = None
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
            # Graphs are captured from a stream of their own, and a backward runs where its forward ran.
            torch.cuda.set_stream(torch.cuda.Stream(self._device))
        gc.freeze()  # what the imports left behind need not be searched before every block

    def facts(self) -> dict[str, Any]:
        """Provenance with flags."""
        flags = {"gc_in_blocks": False, "environment": recorded_environment()}
        kernels = {self._params["operator"]: self._params["backend"]}
        return {"provenance": {**collect(str(self._device)), "kernels": kernels, "flags": flags}}

    def truth(self, params: dict[str, Any], path: str) -> dict[str, Any]:
        """Save float64 results at the size for checks to `path`; tells about how long it takes at the full size."""
        trial = Trial.of(params)
        call = self._call(trial, trial.case.checked(), exact=True)
        started = time.perf_counter()
        results = {name: tensor.cpu() for name, tensor in call.results().items()}
        seconds = time.perf_counter() - started
        torch.save(results, path)
        full, checked = (trial.case.forward(shape, 4).bytes for shape in (trial.case.shape, trial.case.checked()))
        return {"smaller": trial.case.checked() != trial.case.shape, "full_s": seconds * full / checked}

    def prepare(self, params: dict[str, Any], *, truth: str, agreed: str | None, warmup_s: float) -> dict[str, Any]:
        """Call for the first time, check the results, and warm up; `wrong` says in a line what is wrong with them.

        Args:
            params: The cell's.
            truth: File of float64 results at the size for checks.
            agreed: Where that size is not the one that is timed: file of the first peer's results at the full size,
                written by whoever finds it missing, compared with by all others.
            warmup_s: Seconds that the warm-up may take.
        """
        self.release()
        trial = Trial.of(params)
        if trial.threads is not None:
            torch.set_num_threads(trial.threads)
        call = self._call(trial, trial.case.shape)
        started = time.perf_counter()
        results = call.results()
        self._synchronise()
        first_s = time.perf_counter() - started
        checked = results if agreed is None else self._call(trial, trial.case.checked()).results()
        found = errors(checked, _load(truth))
        wrong = verdict(found, trial.dtype, against="the float64 reference")
        agreement = None if agreed is None or wrong else self._agreement(results, Path(agreed))
        if agreement is not None:
            wrong = verdict(agreement, trial.dtype, against="its peers at the full size", factor=_BETWEEN_PEERS)
        del results, checked
        answer = {
            "wrong": wrong,
            "first_call_s": first_s,
            "error_rms": _finite(found.rms),
            "error_largest": _finite(found.largest),
            "tolerance": TOLERANCES[trial.dtype].rms,
            "agreement": None if agreement is None else _finite(agreement.rms),
        }
        return answer if wrong else {**answer, **self._warm(trial, call, first_s, warmup_s)}

    def block(self, iterations: int) -> dict[str, Any]:
        """Durations of `iterations` calls in ms."""
        assert self._clock is not None
        return self._clock.block(iterations)._asdict()

    def rates(self, params: dict[str, Any]) -> dict[str, Any]:
        """The machine's best rates so far, for a call like this, and its least work."""
        trial = Trial.of(params)
        if trial.threads is not None:
            torch.set_num_threads(trial.threads)
        work = self._work(trial)
        return {**work, **self._rates.measure(trial.dtype, launch=trial.launch, work_bytes=work["bytes"])}

    def release(self) -> None:
        """Forget the prepared call and its tensors."""
        self._clock = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _call(self, trial: Trial, shape: Any, *, exact: bool = False) -> Call:
        return Call(
            trial.case,
            shape,
            backend=self._params["backend"],
            direction=trial.direction,
            dtype=trial.dtype,
            device=self._device,
            seed=self._params["seed"],
            exact=exact,
        )

    def _agreement(self, results: Named, path: Path) -> Errors | None:
        if path.is_file():
            return errors(results, _load(str(path)))
        torch.save({name: tensor.cpu() for name, tensor in results.items()}, path)
        return None

    def _warm(self, trial: Trial, call: Call, first_s: float, warmup_s: float) -> dict[str, Any]:
        if self._device.type != "cuda":
            self._clock = HostClock(call)
        elif trial.launch == "graph":
            self._clock = GraphClock(call, self._device, EventClock(call, self._device).once())
        else:
            self._clock = EventClock(call, self._device)
        # The second call is the first that compiles nothing; one longer than the warm-up may take is not repeated.
        second_s = self._clock.once() if first_s > warmup_s else 0.0
        if second_s > warmup_s:
            return {"iteration_s": second_s, "warmup_iterations": 2, "warmup_stable": None}
        warm = warm_up(self._clock.once, limit_s=warmup_s, least_s=_LEAST_WARMUP_S[self._device.type])
        return {
            "iteration_s": warm.iteration_s,
            "warmup_iterations": warm.iterations,
            "warmup_stable": warm.stable,
        }

    def _work(self, trial: Trial) -> dict[str, int]:
        least = trial.case.forward if trial.direction == "forward" else trial.case.backward
        work = least(trial.case.shape, trial.dtype.itemsize)
        return {"flops": work.flops, "bytes": work.bytes, "exps": work.exps}

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _load(path: str) -> Named:
    loaded: Named = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return loaded


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
