"""The suite of operators with real worker processes."""

from pathlib import Path

import pytest
from linbench.results.store import Store
from linbench.suites.kernels.options import KernelOptions
from linbench.suites.kernels.suite import SUITE

PLUGS = Path(__file__).parent / "kernel_plugs"


def test_right_wrong_and_crashing_implementations_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PLUGS), prepend=":")
    monkeypatch.syspath_prepend(str(PLUGS))
    options = KernelOptions(
        shapes=("small",),
        backends=("torch", "slow", "wrong", "killed"),
        directions=("forward",),
        threads=(1,),
        budget_s=0.1,
        rounds=3,
        source="odd_operators:CASES",
    )
    found = SUITE.run(options, store=Store(tmp_path))
    rows = {row.cell.params["backend"]: row for row in found}
    assert {name: row.status for name, row in rows.items()} == {
        "torch": "ok",
        "slow": "ok",
        "wrong": "wrong",
        "killed": "oom",
    }
    slow, quick = rows["slow"], rows["torch"]
    assert 10 <= slow.metrics["time_ms"] < 100
    assert quick.metrics["time_ms_low"] <= quick.metrics["time_ms"] <= quick.metrics["time_ms_high"]
    assert quick.metrics["time_ms"] < slow.metrics["time_ms"]
    assert slow.metrics["first_call_ms"] >= 10
    for rate in ("copy_gb_per_s", "matrix_gflops_per_s", "peak_gexps_per_s"):
        assert slow.metrics[rate] > 0.1
    assert slow.metrics["roofline_fraction"] == pytest.approx(slow.metrics["bound_ms"] / slow.metrics["time_ms"])
    assert 0 < slow.metrics["roofline_fraction"] < 1e-3
    assert slow.provenance["kernels"] == {"doubling": "slow"}
    assert sorted(slow.provenance["schedule"]["peers"]) == ["slow", "torch"]
    assert slow.provenance["torch"]["threads"] == 1
