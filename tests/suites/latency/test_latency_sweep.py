"""The sweep with scripted workers instead of processes: turns, failures, skips, resume, interruption."""

import json
import signal
from collections import Counter
from typing import ClassVar

import pytest
from linbench.errors import UsageError
from linbench.results.store import Store
from linbench.suites import base
from linbench.suites.latency import SUITE, LatencyOptions
from linbench.suites.latency import sweep as sweeping
from linbench.suites.runner import subject
from linbench.suites.runner.health import BlockHealth
from linbench.suites.runner.process import WorkerDiedError, WorkerHungError

OPTIONS = LatencyOptions(
    backbones=("quick", "slow"),
    resolutions=(64, 128, 256),
    subject="any:model",
    threads=1,
    budget_s=4.0,
    rounds=5,
    sentinel=False,
)
DURATIONS = {"quick": 0.1, "slow": 0.4}


class ScriptedWorker:
    """Answers like a worker, at once; `script[(backbone, op, resolution)]` overrides an answer or is raised."""

    script: ClassVar[dict] = {}
    made: ClassVar[list] = []

    def __init__(self, environment, *, module):
        self.environment = environment
        self.alive = True
        self.asked = []
        self.made.append(self)

    def ask(self, request, *, timeout_s):
        assert self.alive
        json.dumps(request)
        operation = request["op"]
        self.asked.append(operation)
        if operation == "build":
            self.backbone = request["params"]["backbone"]
            self.resolution = None
        if operation == "prepare":
            self.resolution = request["resolution"]
        override = self.script.get((self.backbone, operation, self.resolution))
        if isinstance(override, BaseException):
            self.alive = not isinstance(override, (WorkerDiedError, WorkerHungError))
            raise override
        if override and "status" in override:
            return override
        return {"status": "ok", **getattr(self, f"answer_{operation}")(request), **(override or {})}

    def answer_build(self, request):
        provenance = {"device": {"type": "cpu", "name": "a CPU"}}
        return {"import_s": 1.0, "build_s": 1.0, "weights_bytes": 2**20, "gpu": None, "provenance": provenance}

    def answer_check(self, request):
        return {"against": "reference kernels in fp32", "rms": 1e-6, "tolerance": 1e-3, "wrong": ""}

    def answer_prepare(self, request):
        return {
            "wrong": "",
            "graph_breaks": None,
            "first_call_s": 1.0,
            "iteration_s": DURATIONS[self.backbone],
            "warmup_iterations": 4,
            "warmup_stable": True,
            "macs": 10**9,
            "matmul_flops_per_s": 1e11,
            "held_bytes": 2**20,
            "available_bytes": 2**30,
        }

    def answer_block(self, request):
        return {
            "wall_ms": [1000 * DURATIONS[self.backbone]] * request["iterations"],
            "device_ms": [],
            "peak_bytes": 3 * 2**20,
            "activation_bytes": 2**20,
            "reserved_bytes": 4 * 2**20,
        }

    def answer_rest(self, request):
        return {}

    def answer_release(self, request):
        return {}

    def close(self):
        self.alive = False

    kill = close


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(ScriptedWorker, "script", {})
    monkeypatch.setattr(ScriptedWorker, "made", [])
    monkeypatch.setattr(subject, "Worker", ScriptedWorker)
    monkeypatch.setattr(subject, "collect", lambda device: {"device": {"type": "cpu", "name": "a CPU"}})
    monkeypatch.setattr(base, "device_name", lambda device: "a CPU")
    return ScriptedWorker.script


def sweep(store, options=OPTIONS, **arguments):
    rows = list(SUITE.run(options, store=store, **arguments))
    return {(row.cell.backbone, row.cell.params["res"]): row for row in rows}


def test_rows_of_a_sweep_without_trouble(script, tmp_path):
    events = []
    rows = sweep(Store(tmp_path), progress=events.append)
    assert len(rows) == 6
    assert {row.status for row in rows.values()} == {"ok"}
    metrics = rows["slow", 256].metrics
    assert metrics["latency_ms"] == metrics["latency_ms_low"] == metrics["latency_ms_high"] == pytest.approx(400)
    assert metrics["tokens"] == 256
    assert metrics["gflops_per_s"] == pytest.approx(5.0)
    assert metrics["matmul_fraction"] == pytest.approx(0.05)
    assert (metrics["peak_memory_mib"], metrics["weights_mib"], metrics["activations_mib"]) == (3, 1, 1)
    assert metrics["converged"] == 1
    assert metrics["rounds"] == 5
    assert rows["quick", 64].provenance["schedule"]["peers"] == ["quick fp32", "slow fp32"]
    assert rows["quick", 64].samples["round"] == [0, 1, 2, 3, 4]
    assert Counter(rows["quick", 64].samples["place"] + rows["slow", 64].samples["place"]) == {0: 5, 1: 5}
    assert len(ScriptedWorker.made) == 2
    assert not any(worker.alive for worker in ScriptedWorker.made)
    assert events[-1].done == events[-1].total == 6


def test_stored_rows_are_the_rows_that_were_yielded(script, tmp_path):
    rows = sweep(Store(tmp_path))
    stored = {(row.cell.backbone, row.cell.params["res"]): row for row in Store(tmp_path).rows("latency")}
    assert {name: row.metrics for name, row in stored.items()} == {name: row.metrics for name, row in rows.items()}


def test_out_of_memory_skips_the_larger_sizes_of_that_subject_only(script, tmp_path):
    script["slow", "prepare", 128] = {
        "status": "oom",
        "error": "out of memory: tried",
        "asked_bytes": 2**30,
        "free_bytes": None,
    }
    rows = sweep(Store(tmp_path))
    assert [rows["slow", size].status for size in (64, 128, 256)] == ["ok", "oom", "skipped"]
    assert rows["slow", 128].metrics == {"asked_mib": 1024}
    assert rows["slow", 256].provenance["because_of"] == rows["slow", 128].cell.key
    assert rows["slow", 128].cell.key in rows["slow", 256].error
    assert [rows["quick", size].status for size in (64, 128, 256)] == ["ok"] * 3


@pytest.mark.parametrize("operation", ["prepare", "block", "build"])
@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (WorkerDiedError(-signal.SIGSEGV, ["last words"]), ["crash", "ok"]),
        (WorkerDiedError(-signal.SIGKILL, ["last words"]), ["oom", "skipped"]),
        (WorkerHungError("no answer within 9 s", ["last words"]), ["timeout", "skipped"]),
    ],
)
def test_a_dead_worker_costs_one_cell(script, tmp_path, error, statuses, operation):
    script["slow", operation, None if operation == "build" else 64] = error
    options = LatencyOptions(**{**vars(OPTIONS), "resolutions": (64, 128)})
    rows = sweep(Store(tmp_path), options)
    if operation == "build" and statuses[0] == "crash":
        statuses = ["crash", "crash"]
    assert [rows["slow", size].status for size in (64, 128)] == statuses
    assert rows["slow", 64].provenance["stderr_tail"] == ["last words"]
    assert rows["slow", 64].provenance["device"]["name"] == "a CPU"
    assert [rows["quick", size].status for size in (64, 128)] == ["ok", "ok"]


@pytest.mark.parametrize(
    "junk", [{"status": None}, {"status": "done", "junk": True}, {"status": "oom", "error": "", "x": 1}]
)
def test_an_answer_that_is_none_costs_one_cell(script, tmp_path, junk):
    script["slow", "block", 64] = junk
    rows = sweep(Store(tmp_path))
    assert [rows["slow", size].status for size in (64, 128, 256)] == ["crash", "ok", "ok"]
    assert "no answer" in rows["slow", 64].error
    assert [rows["quick", size].status for size in (64, 128, 256)] == ["ok"] * 3


def test_an_output_that_is_not_finite_gives_no_time(script, tmp_path):
    script["slow", "prepare", 128] = {"wrong": "the output holds values that are not finite; no time is given"}
    rows = sweep(Store(tmp_path))
    assert rows["slow", 128].status == "wrong"
    assert "latency_ms" not in rows["slow", 128].metrics
    assert rows["slow", 256].status == "ok"


def test_resume_measures_only_what_is_missing(script, tmp_path):
    script["slow", "block", 128] = WorkerDiedError(3, [])
    first = sweep(Store(tmp_path))
    assert first["slow", 128].status == "crash"
    script.clear()
    ScriptedWorker.made.clear()
    again = sweep(Store(tmp_path))
    assert {row.status for row in again.values()} == {"ok"}
    assert [worker.backbone for worker in ScriptedWorker.made] == ["slow"]
    assert ScriptedWorker.made[0].asked.count("prepare") == 1
    sweep(Store(tmp_path))
    assert len(ScriptedWorker.made) == 1
    sweep(Store(tmp_path), resume=False)
    assert len(ScriptedWorker.made) == 3


def test_rows_of_another_device_do_not_count(script, tmp_path, monkeypatch):
    sweep(Store(tmp_path))
    monkeypatch.setattr(base, "device_name", lambda device: "another CPU")
    ScriptedWorker.made.clear()
    sweep(Store(tmp_path))
    assert len(ScriptedWorker.made) == 2


def test_an_interruption_keeps_rows_and_kills_workers(script, tmp_path):
    script["slow", "block", 128] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sweep(Store(tmp_path))
    found = {(row.cell.backbone, row.cell.params["res"]): row.status for row in Store(tmp_path).rows("latency")}
    assert found["quick", 64] == found["slow", 64] == "ok"
    assert found["slow", 128] == "interrupted"
    assert ("quick", 256) not in found
    assert not any(worker.alive for worker in ScriptedWorker.made)


def test_a_caller_who_stops_listening_leaves_no_worker(script, tmp_path):
    rows = SUITE.run(OPTIONS, store=Store(tmp_path))
    next(rows)
    assert any(worker.alive for worker in ScriptedWorker.made)
    rows.close()
    assert not any(worker.alive for worker in ScriptedWorker.made)


def test_memory_is_given_back_between_turns_where_it_is_tight(script, tmp_path):
    script["slow", "prepare", 64] = {"held_bytes": 2**29}
    sweep(Store(tmp_path))
    asked = {worker.backbone: worker.asked for worker in ScriptedWorker.made}
    assert asked["slow"].count("rest") == 6
    assert "rest" not in asked["quick"]


def test_a_device_that_is_not_there_is_said_before_anything_runs(script, tmp_path):
    options = LatencyOptions(**{**vars(OPTIONS), "device": "cuda:99"})
    with pytest.raises(UsageError, match="device 'cuda:99' is not there"):
        sweep(Store(tmp_path), options)
    assert not ScriptedWorker.made


def test_one_subject_after_the_other(script, tmp_path):
    options = LatencyOptions(**{**vars(OPTIONS), "interleave": False})
    rows = sweep(Store(tmp_path), options)
    assert list(rows) == [(name, size) for name in ("quick", "slow") for size in (64, 128, 256)]
    assert rows["quick", 64].provenance["schedule"]["peers"] == ["quick fp32"]


class ScriptedHealth:
    """Marks the blocks whose number is in `disturbed`."""

    def __init__(self, disturbed):
        self.disturbed, self.blocks = disturbed, 0

    def start(self):
        self.blocks += 1

    def stop(self):
        return BlockHealth("too hot" if self.blocks in self.disturbed else None, 2.0)

    def facts(self):
        return {"governor": None}


def disturbed_row(monkeypatch, tmp_path, disturbed):
    monkeypatch.setattr(sweeping, "watch", lambda subject, load: ScriptedHealth(disturbed))
    options = LatencyOptions(**{**vars(OPTIONS), "backbones": ("slow",), "resolutions": (64,), "budget_s": 5.0})
    return sweep(Store(tmp_path), options)["slow", 64]


def test_a_disturbed_block_is_measured_again_and_kept_aside(script, tmp_path, monkeypatch):
    row = disturbed_row(monkeypatch, tmp_path, {2})
    assert row.metrics["rounds"] == 5
    assert row.metrics["repeated_blocks"] == 1
    assert row.metrics["marked_blocks"] == 0
    assert row.samples["again"] == [{"round": 1, "ms": [400.0, 400.0], "mark": "too hot"}]
    assert row.samples["mark"] == [None] * 5
    assert row.metrics["energy_j"] == 1.0, "two calls a block"


def test_a_block_that_stays_disturbed_counts_with_its_mark(script, tmp_path, monkeypatch):
    row = disturbed_row(monkeypatch, tmp_path, {1, 2, 3})
    assert row.metrics["repeated_blocks"] == 2
    assert row.metrics["marked_blocks"] == 1
    assert row.samples["mark"] == ["too hot", None, None, None, None]
    assert row.provenance["health"] == {"governor": None}


def test_the_load_before_is_not_the_sweeps_own(script, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (float(len(ScriptedWorker.made)), 0.0, 0.0))
    rows = sweep(Store(tmp_path))
    assert {row.provenance["health"]["load_before"] for row in rows.values()} == {0.0}


def test_a_wrong_output_gives_no_time_at_any_size(script, tmp_path):
    script["slow", "check", None] = {"wrong": "the output differs from reference kernels in fp32 by 2e-01"}
    rows = sweep(Store(tmp_path))
    assert [rows["slow", size].status for size in (64, 128, 256)] == ["wrong"] * 3
    assert "latency_ms" not in rows["slow", 64].metrics
    assert rows["quick", 64].metrics["gate_rms"] == 1e-6
    assert rows["quick", 64].provenance["gate"]["tolerance"] == 1e-3


def test_a_warm_up_that_never_settles_makes_an_unstable_row(script, tmp_path):
    script["slow", "prepare", 64] = {"warmup_stable": False}
    script["slow", "prepare", 128] = {"warmup_stable": None}
    rows = sweep(Store(tmp_path))
    assert [rows["slow", size].status for size in (64, 128)] == ["unstable", "ok"]
    assert rows["slow", 64].metrics["latency_ms"] == pytest.approx(400)


def test_rows_that_took_turns_say_so(script, tmp_path):
    options = LatencyOptions(**{**vars(OPTIONS), "dtypes": ("fp32", "bf16")})
    turns = {}
    for row in SUITE.run(options, store=Store(tmp_path)):
        when = row.provenance["schedule"]
        turns.setdefault(when["turns"], set()).add((row.cell.params["dtype"], row.cell.params["res"]))
        assert when["turns"].startswith(when["sweep"])
    assert sorted(map(sorted, turns.values())) == [
        [(dtype, size)] for dtype in ("bf16", "fp32") for size in (64, 128, 256)
    ]


def rate(batch):
    """Images a second: grows with the batch up to 24, then falls."""
    return 10.0 * min(batch, 24) - 2.0 * max(0, batch - 24)


@pytest.mark.parametrize(("fits", "best"), [(10_000, (22, 26)), (10, (9, 10)), (1, (1, 1))])
def test_the_batch_of_the_best_throughput_is_searched(script, tmp_path, monkeypatch, fits, best):
    def probe(self, request):
        if request["batch"] > fits:
            return {"status": "oom", "error": "out of memory", "asked_bytes": None, "free_bytes": None}
        return {"images_per_s": rate(request["batch"]), "pass_s": 0.1}

    def answer(self, request):
        told = probe(self, request)
        if told.get("status") == "oom":
            self.alive = False
            raise WorkerDiedError(-signal.SIGKILL, [])
        return told

    monkeypatch.setattr(ScriptedWorker, "answer_probe", answer, raising=False)
    options = LatencyOptions(**{**vars(OPTIONS), "backbones": ("slow",), "resolutions": (64,), "batches": ("auto",)})
    row = sweep(Store(tmp_path), options)["slow", 64]
    assert row.status == "ok"
    batch = row.metrics["best_batch"]
    assert best[0] <= batch <= best[1]
    assert row.metrics["images_per_s"] == pytest.approx(batch / 0.4)
    assert "latency_ms" not in row.metrics
    assert [1, rate(1)] in row.samples["tried"]
    assert any(speed is None for _, speed in row.samples["tried"]) == (fits < 10_000)


def test_where_no_image_fits_there_is_no_throughput(script, tmp_path, monkeypatch):
    told = {"status": "oom", "error": "out of memory", "asked_bytes": 2**30, "free_bytes": None}
    monkeypatch.setattr(ScriptedWorker, "answer_probe", lambda self, request: {}, raising=False)
    script["slow", "probe", None] = told
    options = LatencyOptions(**{**vars(OPTIONS), "backbones": ("slow",), "batches": ("auto",)})
    rows = sweep(Store(tmp_path), options)
    assert [row.status for row in rows.values()] == ["oom", "skipped", "skipped"]


def test_the_sentinel_watches_and_harms_nothing(script, tmp_path, monkeypatch):
    monkeypatch.setitem(DURATIONS, "sentinel:768", 0.01)
    options = LatencyOptions(**{**vars(OPTIONS), "sentinel": True})
    *rows, noise = SUITE.run(options, store=Store(tmp_path))
    assert noise.cell.params["measure"] == "noise"
    assert set(noise.samples) == {"begin", "middle", "end"}
    assert noise.metrics["noise_floor"] == 0.0
    assert {row.provenance["schedule"]["sweep"] for row in [*rows, noise]} == {noise.provenance["schedule"]["sweep"]}
    assert not any(worker.alive for worker in ScriptedWorker.made)

    script["sentinel:768", "block", 32] = WorkerDiedError(3, ["why"])
    *rows, noise = SUITE.run(options, store=Store(tmp_path), resume=False)
    assert {row.status for row in rows} == {"ok"}
    assert noise.status == "crash"


def test_nothing_to_measure_needs_no_sentinel(script, tmp_path, monkeypatch):
    sweep(Store(tmp_path))
    options = LatencyOptions(**{**vars(OPTIONS), "sentinel": True})
    assert len(list(SUITE.run(options, store=Store(tmp_path)))) == 6


def test_a_twin_is_never_measured_alone(script, tmp_path):
    options = LatencyOptions(**{**vars(OPTIONS), "resolutions": (64,), "aa": True})
    script["slow", "block", 64] = WorkerDiedError(3, [])
    rows = list(SUITE.run(options, store=Store(tmp_path)))
    assert [row.status for row in rows if row.cell.backbone == "slow"] == ["crash", "crash"]
    quick = [row for row in rows if row.cell.backbone == "quick"]
    assert len({row.provenance["schedule"]["turns"] for row in quick}) == 1
    script.clear()
    store = Store(tmp_path)
    for path in (tmp_path / "runs" / "latency" / "quick").glob(f"{quick[0].cell.key}*"):
        path.unlink()
    ScriptedWorker.made.clear()
    list(SUITE.run(options, store=store))
    assert Counter(worker.backbone for worker in ScriptedWorker.made) == {"quick": 2, "slow": 2}
