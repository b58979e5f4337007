"""The latency suite with real worker processes: registered models, and models that misbehave."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import linbench
import pytest
import torch
from linbench.kernels import register_flop_formulas
from linbench.results.store import Store
from linbench.suites.latency import SUITE, LatencyOptions
from torch.utils.flop_counter import FlopCounterMode

PLUGS = Path(__file__).parent / "runner" / "plugs"
BUDGET = {"threads": 1, "budget_s": 0.3, "rounds": 3}


def measure(tmp_path, **options):
    options = LatencyOptions(**BUDGET, **options)
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


def test_models_that_go_wrong_beside_one_that_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLUGS))
    names = ("fine", "hungry", "killed", "nan")
    rows = measure(
        tmp_path, backbones=names, resolutions=(32, 48, 64), subject="odd_models:build", memory_limit_mib=2048
    )
    found = {name: [rows[name, size].status for size in (32, 48, 64)] for name in names}
    assert found == {
        "fine": ["ok", "ok", "ok"],
        "hungry": ["ok", "oom", "skipped"],
        "killed": ["ok", "oom", "skipped"],
        "nan": ["ok", "wrong", "wrong"],
    }
    assert rows["hungry", 48].metrics["asked_mib"] == 8192
    assert rows["fine", 32].metrics["weights_mib"] == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_leaves_rows_and_no_orphan(tmp_path):
    script = (
        "from linbench.results.store import Store; from linbench.suites.latency import SUITE, LatencyOptions;"
        "options = LatencyOptions(backbones=('noisy',), subject='odd_models:build', resolutions=(32,), threads=1,"
        " budget_s=1e6, rounds=10**6);"
        f"list(SUITE.run(options, store=Store({str(tmp_path)!r}),"
        " progress=lambda event: print(event.message, flush=True)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PLUGS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "round 2" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert [row.status for row in Store(tmp_path).rows("latency")] == ["interrupted"]
    deadline = time.monotonic() + 10
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{children[0]}").exists()


def test_the_operators_are_counted(tmp_path):
    row = measure(tmp_path, backbones=("rwkvsam-t",), resolutions=(64,))["rwkvsam-t", 64]
    register_flop_formulas()
    model = linbench.create_backbone("rwkvsam-t")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 64, 64))
    counts = {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}
    assert counts["linbench.bi_wkv_forward"] > 0
    assert row.metrics["gmacs"] == pytest.approx(sum(counts.values()) / 2e9, rel=1e-6)
