"""`bench kernels` on the command line."""

import json
from pathlib import Path

import pytest
from linbench.cli import main
from linbench.results.store import Store

PLUGS = Path(__file__).parent / "kernel_plugs"


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PLUGS))
    monkeypatch.setenv("PYTHONPATH", str(PLUGS), prepend=":")
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["kernels", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return stop.value.code or 0, out, err

    return run


def test_help_has_examples(bench):
    code, out, _ = bench("--help")
    assert code == 0
    assert "bench kernels --op bi_wkv" in out
    assert "--device cuda" in out


def test_a_plan_says_what_would_be_measured(bench):
    arguments = ("--cases", "odd_operators:CASES", "--shape", "small", "--backend", "torch,slow", "--threads", "1,2")
    code, out, _ = bench(*arguments, "--forward", "--dry-run", "--json")
    assert code == 0
    records = json.loads(out)
    assert len(records) == 4
    assert {record["backend"] for record in records} == {"torch", "slow"}
    assert {record["threads"] for record in records} == {1, 2}
    assert {record["direction"] for record in records} == {"forward"}
    assert {record["state"] for record in records} == {"to do"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--op", "doublin"), "unknown operator 'doublin'. Did you mean 'doubling'"),
        (("--shape", "smal"), "Did you mean 'small'"),
        (("--shape", "T=4"), "has the dimensions B, C"),
        (("--threads", "two"), "--threads 'two' cannot be read"),
        (("--dtype", "fp99"), "dtype 'fp99' is not known"),
        (("--launch", "graph"), "needs a CUDA device"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(bench, arguments, message):
    code, _, err = bench("--cases", "odd_operators:CASES", *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_rows_are_printed_stored_and_drawn(bench, tmp_path):
    arguments = ("--cases", "odd_operators:CASES", "--shape", "small", "--backend", "torch,absent", "--forward")
    code, out, err = bench(*arguments, "--threads", "1", "--rounds", "3", "--budget", "0.05")
    assert code == 0, err
    assert "Operator doubling" in out
    assert "absent: unsupported: the library it wants is not installed" in out
    store = Store(tmp_path / "results")
    assert sorted(row.status for row in store.rows("kernels")) == ["ok", "unsupported"]
    for name in ("tables/kernels.md", "tables/kernels.csv", "tables/kernels.tex", "figures/kernels.png"):
        assert (store.root / name).stat().st_size > 100
