"""The latency suite with real worker processes: registered models, and models that misbehave."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import linbench
import pytest
import torch
from linbench.errors import UsageError
from linbench.kernels import register_flop_formulas
from linbench.results.store import Store
from linbench.suites.latency import SUITE, LatencyOptions
from linbench.suites.latency.profiling import profile_cells
from torch.utils.flop_counter import FlopCounterMode

BUDGET = {"threads": 1, "budget_s": 0.3, "rounds": 3, "sentinel": False}


def measure(tmp_path, **options):
    options = LatencyOptions(**BUDGET | options)
    rows = SUITE.run(options, store=Store(tmp_path))
    return {(row.cell.backbone, row.cell.params["res"]): row for row in rows}


def test_a_registered_backbone_end_to_end(tmp_path):
    rows = measure(tmp_path, backbones=("vit-t",), resolutions=(64, 128))
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    small, large = (rows["vit-t", size] for size in (64, 128))
    assert 0 < small.metrics["latency_ms_low"] <= small.metrics["latency_ms"] <= small.metrics["latency_ms_high"]
    assert small.metrics["weights_mib"] == pytest.approx(5524416 * 4 / 2**20, rel=1e-3)
    assert small.metrics["peak_memory_mib"] > small.metrics["weights_mib"] > 0
    assert large.metrics["gmacs"] > 3 * small.metrics["gmacs"]
    assert 0 < large.metrics["matmul_fraction"] < 1.2
    # 12 blocks of 12 C^2 per token, attention's 2 N C per token, and the patch embedding.
    tokens, dim = 65, 192
    macs = 12 * tokens * (12 * dim**2 + 2 * tokens * dim) + 64 * 768 * dim
    assert large.metrics["gmacs"] == pytest.approx(macs / 1e9, rel=0.01)
    assert large.provenance["flags"]["environment"]["OMP_NUM_THREADS"] == "1"
    assert large.provenance["torch"]["threads"] == 1
    assert large.provenance["device"]["type"] == "cpu"
    assert len(large.samples["latency_ms"]) == large.metrics["rounds"]


def test_models_that_go_wrong_beside_one_that_does_not(tmp_path, odd_models):
    names = ("fine", "hungry", "killed", "nan")
    rows = measure(tmp_path, backbones=names, resolutions=(32, 48, 64), subject=odd_models, memory_limit_mib=2048)
    found = {name: [rows[name, size].status for size in (32, 48, 64)] for name in names}
    assert found == {
        "fine": ["ok", "ok", "ok"],
        "hungry": ["ok", "oom", "skipped"],
        "killed": ["ok", "oom", "skipped"],
        "nan": ["ok", "wrong", "wrong"],
    }
    assert rows["hungry", 48].metrics["asked_mib"] == 8192
    assert rows["fine", 32].metrics["weights_mib"] == 1


@pytest.mark.slow
def test_workers_that_die_hang_and_babble_cost_one_cell_each(tmp_path, odd_models):
    names = ("fine", "segfault", "junk", "hanging")
    rows = measure(tmp_path, backbones=names, resolutions=(32, 48), subject=odd_models, timeout_s=20)
    assert {name: [rows[name, size].status for size in (32, 48)] for name in names} == {
        "fine": ["ok", "ok"],
        "segfault": ["ok", "crash"],
        "junk": ["ok", "crash"],
        "hanging": ["ok", "timeout"],
    }
    assert "SIGSEGV" in rows["segfault", 48].error
    assert "no answer" in rows["junk", 48].error


SLEEPING = {"backbones": ("sleeping",), "subject": "odd_models:build", "resolutions": (32, 48), "budget_s": 4.0}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_keeps_finished_cells_leaves_no_orphan_and_the_same_command_resumes(tmp_path, odd_models):
    script = (
        # Tests that were started in the background of a shell ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from linbench.results.store import Store; from linbench.suites.latency import SUITE, LatencyOptions;"
        f"list(SUITE.run(LatencyOptions(**{BUDGET | SLEEPING}), store=Store({str(tmp_path)!r}),"
        " progress=lambda event: print(event.message, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    while "at 48: round 1" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    kept = {row.cell.params["res"]: row for row in Store(tmp_path).rows("latency")}
    assert {size: row.status for size, row in kept.items()} == {32: "ok", 48: "interrupted"}
    deadline = time.monotonic() + 10
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{children[0]}").exists()

    rows = measure(tmp_path, **SLEEPING)
    assert rows["sleeping", 32].created_utc == kept[32].created_utc
    assert rows["sleeping", 48].status == "ok"
    assert rows["sleeping", 48].metrics["latency_ms"] == pytest.approx(50, rel=0.2)


def test_the_decoder_of_a_system_is_timed_on_a_stored_embedding(tmp_path):
    rows = SUITE.run(
        LatencyOptions(systems=("vit-t+sam",), stages=("decoder",), prompts=(2,), resolutions=(64,), **BUDGET),
        store=Store(tmp_path),
    )
    (row,) = rows
    assert row.status == "ok", row.error
    system = linbench.create_system("vit-t+sam")
    weights = [*system.prompt_encoder.parameters(), *system.mask_decoder.parameters()]
    assert row.metrics["weights_mib"] == pytest.approx(sum(map(torch.numel, weights)) * 4 / 2**20, rel=0.01)
    assert row.metrics["gmacs"] > 0.01
    assert row.metrics["gate_rms"] <= 1e-4


@pytest.mark.slow
def test_compiled_models_are_held_against_eager_ones(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    rows = SUITE.run(
        LatencyOptions(backbones=("vit-t",), resolutions=(32,), compile=("default", "graphs"), **BUDGET),
        store=Store(tmp_path),
    )
    found = {row.cell.params["compile"]: row for row in rows}
    assert found["default"].status == "ok", found["default"].error
    assert found["default"].metrics["graph_breaks"] == 0
    assert found["graphs"].status == "unsupported"
    assert "needs a CUDA device" in found["graphs"].error


def test_a_profile_is_a_trace_and_a_table_and_no_row(tmp_path, odd_models):
    options = LatencyOptions(
        backbones=("fine", "nonsense"), subject=odd_models, resolutions=(32,), batches=(1, "auto"), **BUDGET
    )
    fine, nonsense = profile_cells(options, tmp_path / "profiles")
    assert "traceEvents" in json.loads(Path(fine.trace).read_text())
    assert sum(one["share"] for one in fine.operators) <= 1.001
    assert any("mean" in one["operator"] for one in fine.operators)
    assert "| share |" in Path(fine.trace.replace(".trace.json", ".md")).read_text()
    assert Path(fine.trace).parent == tmp_path / "profiles" / "fine"
    assert "no such kind" in nonsense.error
    assert not list(tmp_path.rglob("*-*Z-*.json"))
    with pytest.raises(UsageError, match="--batch 1,8"):
        list(profile_cells(replace(options, batches=("auto",)), tmp_path / "profiles"))


def test_the_operators_are_counted(tmp_path):
    row = measure(tmp_path, backbones=("rwkvsam-t",), resolutions=(64,))["rwkvsam-t", 64]
    register_flop_formulas()
    model = linbench.create_backbone("rwkvsam-t")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 64, 64))
    counts = {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    assert counts["linbench.bi_wkv_forward"] > 0
    assert row.metrics["gmacs"] == pytest.approx(sum(counts.values()) / 2e9, rel=1e-6)
