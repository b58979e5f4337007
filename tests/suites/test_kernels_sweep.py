"""The suite of operators with workers inside this process: what is right, what is timed, what is stored."""

import gc
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from linbench.errors import UsageError
from linbench.results.store import Store
from linbench.suites.kernels import session, sweep
from linbench.suites.kernels.options import KernelOptions
from linbench.suites.kernels.suite import SUITE
from linbench.suites.kernels.worker import load
from linbench.suites.runner.failures import describe
from linbench.suites.runner.process import WorkerDiedError
from linbench.suites.runner.worker import Server

PLUGS = Path(__file__).parent / "kernel_plugs"
RATES = {
    "copy_bytes_per_s": 10e9,
    "large_copy_bytes_per_s": 8e9,
    "matrix_flops_per_s": 100e9,
    "exps_per_s": None,
    "exps_by": "not measured",
}


class KilledError(BaseException):
    """Stands for the end of the worker."""


class LocalWorker:
    """Answers as a worker process does, from this one."""

    def __init__(self, environment, *, module):
        self.server, self.alive = Server(load), True

    def ask(self, request, *, timeout_s):
        request = json.loads(json.dumps(request))
        try:
            return json.loads(json.dumps({"status": "ok", **self.server.answer(request)}))
        except KilledError:
            self.alive = False
            raise WorkerDiedError(-signal.SIGKILL, ["last words"]) from None
        except Exception as error:
            return describe(error)._asdict()

    def close(self):
        self.alive = False

    kill = close


@pytest.fixture
def measure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGS))
    monkeypatch.setattr(sweep, "Worker", LocalWorker)
    monkeypatch.setattr(session, "collect", lambda device: {"device": {"type": "cpu", "name": "CPU"}})
    monkeypatch.setattr(sweep, "collect", lambda device: {"device": {"type": "cpu", "name": "CPU"}})
    for module in ("base", "kernels.suite"):
        monkeypatch.setattr(f"linbench.suites.{module}.device_name", lambda device: "CPU")
    monkeypatch.setattr(session.Rates, "measure", lambda *args, **kwargs: RATES)
    monkeypatch.setattr(session, "_LEAST_WARMUP_S", {"cpu": 0.001})

    def kill(pid, number):
        raise KilledError

    monkeypatch.setattr(os, "kill", kill)
    threads = torch.get_num_threads()

    def run(**options):
        options = KernelOptions(
            **{"threads": (1,), "budget_s": 0.02, "rounds": 3, "source": "odd_operators:CASES", **options}
        )
        return list(SUITE.run(options, store=Store(tmp_path)))

    yield run
    torch.set_num_threads(threads)
    gc.unfreeze()


def by_backend(rows):
    return {row.cell.params["backend"]: row for row in rows}


def statuses(rows):
    return {name: row.status for name, row in by_backend(rows).items()}


def test_every_implementation_has_a_row_and_only_right_ones_a_time(measure):
    rows = measure(shapes=("small",), directions=("forward",))
    assert statuses(rows) == {
        "reference": "ok",
        "torch": "ok",
        "slow": "ok",
        "wrong": "wrong",
        "wrong-gradient": "ok",
        "nan": "wrong",
        "killed": "oom",
        "refusing": "unsupported",
        "no-gradient": "ok",
        "large": "ok",
        "absent": "unsupported",
        "gpu": "unsupported",
    }
    assert all(("time_ms" in row.metrics) == (row.status == "ok") for row in rows)
    found = by_backend(rows)
    assert found["wrong"].metrics["error_rms"] == pytest.approx(0.005, rel=0.1)
    assert "by 5.00e-03 (RMS, relative)" in found["wrong"].error
    assert found["nan"].metrics["error_rms"] is None
    assert "not finite" in found["nan"].error
    assert found["absent"].error == "the library it wants is not installed"
    assert "it serves cuda tensors, got cpu" in found["gpu"].error
    assert "it serves sizes up to 3" in found["refusing"].error
    assert found["killed"].provenance["stderr_tail"] == ["last words"]


def test_gradients_are_checked_on_their_own(measure):
    chosen = ("torch", "wrong", "wrong-gradient", "no-gradient")
    rows = measure(shapes=("small",), directions=("backward",), backends=chosen)
    assert statuses(rows) == {
        "torch": "ok",
        "wrong": "wrong",
        "wrong-gradient": "wrong",
        "no-gradient": "unsupported",
    }
    found = by_backend(rows)
    assert "gradient of x differs from the float64 reference by 5.00e-01" in found["wrong-gradient"].error
    assert "no gradients" in found["no-gradient"].error


def test_metrics_follow_from_time_work_and_rates(measure):
    (row,) = measure(shapes=("small",), directions=("forward",), backends=("slow",))
    time_s = row.metrics["time_ms"] / 1000
    assert time_s >= 0.01
    assert row.metrics["bytes"] == 2 * 4 * 64 * 4
    assert row.metrics["gb_per_s"] == pytest.approx(2048 / time_s / 1e9)
    assert row.metrics["gflops_per_s"] == pytest.approx(256 / time_s / 1e9)
    assert row.metrics["bound_ms"] == pytest.approx(1000 * max(2048 / 10e9, 256 / 100e9))
    assert row.metrics["roofline_fraction"] == pytest.approx(row.metrics["bound_ms"] / row.metrics["time_ms"])
    assert row.metrics["peak_gexps_per_s"] is None
    assert row.metrics["first_call_ms"] >= 10
    assert len(row.samples["time_ms"]) == row.metrics["rounds"] >= 3
    assert row.provenance["kernels"] == {"doubling": "slow"}


def test_an_error_that_shows_at_the_full_size_only_is_found(measure):
    rows = measure(shapes=("wide",), backends=("torch", "large", "slow"), directions=("forward",))
    assert statuses(rows) == {"torch": "ok", "large": "wrong", "slow": "ok"}
    assert "differs from its peers at the full size" in by_backend(rows)["large"].error
    assert by_backend(rows)["slow"].metrics["agreement"] == 0


def test_a_reference_that_takes_too_long_is_not_timed(measure):
    rows = measure(shapes=("small",), backends=("torch", "reference"), directions=("forward",), patience_s=1e-9)
    assert statuses(rows) == {"torch": "ok", "reference": "skipped"}
    assert "--patience" in by_backend(rows)["reference"].error


def test_without_a_reference_nothing_is_timed(measure, monkeypatch):
    def broken(*args, **kwargs):
        raise MemoryError("unable to allocate 7 GiB")

    monkeypatch.setattr(session.Session, "truth", broken)
    rows = measure(shapes=("small",), backends=("torch", "slow"), directions=("forward",))
    assert statuses(rows) == {"torch": "oom", "slow": "oom"}
    assert by_backend(rows)["slow"].error.startswith("neither checked nor timed: out of memory")


def test_finished_rows_are_not_measured_again_nor_is_the_same_refusal_stored_twice(measure, tmp_path):
    chosen = {"shapes": ("small",), "backends": ("torch", "absent"), "directions": ("forward",)}
    first, second = by_backend(measure(**chosen)), by_backend(measure(**chosen))
    assert first["torch"].created_utc == second["torch"].created_utc
    assert second["absent"].status == "unsupported"
    assert len(Store(tmp_path).rows("kernels")) == 2


def test_implementations_take_turns(measure):
    rows = measure(shapes=("small",), backends=("torch", "reference", "slow"), directions=("forward",), rounds=4)
    places = [row.samples["place"] for row in rows]
    assert all(row.samples["round"][:3] == [0, 1, 2] for row in rows)
    assert len({tuple(place[:3]) for place in places}) == 3
    assert all(row.provenance["schedule"]["peers"] == ["reference", "torch", "slow"] for row in rows)


def test_an_interruption_stores_what_was_begun(measure, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "block", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure(shapes=("small",), backends=("torch", "absent"), directions=("forward",))
    assert sorted(row.status for row in Store(tmp_path).rows("kernels")) == ["interrupted", "unsupported"]


def test_a_device_that_is_not_there_is_refused(measure):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UsageError, match="device 'cuda:0' is not there"):
        measure(shapes=("small",), device="cuda", threads=())
