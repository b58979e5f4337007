"""`bench results`, `bench compare` and `bench report` as they are typed."""

import json

import pytest
from linbench.cli import main
from linbench.results.store import Store
from rows_for_tests import hq_row, latency_row, three


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    """Runs `bench` on a small store and returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("LINBENCH_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "results")
    store.write(latency_row("vit-s", 512, 2.0))
    store.write(latency_row("vit-s", 512, 3.0))
    store.write(latency_row("vit-t", 512, status="oom"))
    store.write(hq_row("rwkvsam-s", three(66, 55)))

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return stop.value.code or 0, out, err

    run.store = store
    return run


def test_ls_filters_and_knows_superseded_rows(bench):
    code, out, _ = bench("results", "ls", "--json")
    assert code == 0
    assert [record["backbone"] for record in json.loads(out)] == ["vit-s", "vit-t", "rwkvsam-s"]
    assert len(json.loads(bench("results", "ls", "--all", "--suite", "latency", "--json")[1])) == 3
    assert json.loads(bench("results", "ls", "--status", "oom", "--json")[1])[0]["error"].startswith("CUDA out of")
    shown = bench("results", "ls", "-b", "vit-*")[1]
    assert "vit-t" in shown
    assert "rwkvsam-s" not in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--suite", "nosuch"], "no row matches --suite nosuch; there are rows of suite latency, sam-hq under results"),
        (["-b", "vit-?", "--status", "failed"], "backbone rwkvsam-s, vit-s, vit-t; status ok, oom"),
        (["--results", "empty"], "there are no rows under empty/runs"),
    ],
)
def test_what_matches_no_row_says_what_there_is(bench, tmp_path, options, told):
    code, out, err = bench("results", "ls", *options)
    assert (code, out) == (0, "")
    assert told in err.replace(f"{tmp_path}/", "")
    assert json.loads(bench("results", "ls", *options, "--json")[1]) == []
    code, _, err = bench("results", "export", "rows.csv", *options)
    assert code == 2
    assert err.startswith("error: nothing to export: ")
    assert not (tmp_path / "rows.csv").exists()


def test_show_prints_a_row_by_the_begin_of_its_key(bench):
    key = hq_row("rwkvsam-s", three(66, 55)).cell.key
    assert json.loads(bench("results", "show", key[:8])[1])["metrics"]["DIS/miou"] == 66
    code, _, err = bench("results", "show", "xyz")
    assert code == 2
    assert "`bench results ls`" in err


def test_export_takes_the_format_of_the_ending(bench, tmp_path):
    assert bench("results", "export", "rows.JSON")[0] == 0
    assert len(json.loads((tmp_path / "rows.JSON").read_text())) == 3
    assert bench("results", "export", "rows.txt", "--format", "csv", "--suite", "sam-hq")[0] == 0
    assert (tmp_path / "rows.txt").read_text().count("\n") == 2
    assert "csv, parquet, json" in bench("results", "export", "rows.xls")[2]


def test_gc_removes_only_when_it_is_meant(bench):
    files = list((bench.store.root / "runs").rglob("*.json"))
    assert "1 files" in bench("results", "gc", "--dry-run")[1]
    assert list((bench.store.root / "runs").rglob("*.json")) == files
    assert "1 files" in bench("results", "gc")[1]
    assert len(list((bench.store.root / "runs").rglob("*.json"))) == len(files) - 1


def test_a_report_names_what_it_leaves_out_and_what_to_run(bench):
    (bench.store.root / "runs" / "latency" / "vit-s" / "mine.json").write_text("{}")
    code, out, err = bench("report", "--no-published")
    assert code == 0
    assert "left out: runs/latency/vit-s/mine.json: no row of LinBench" in err
    assert "no rows for table kernels; measure them with `bench kernels`" in err
    assert "table3.md" in out
    assert "Paper" not in (bench.store.root / "tables" / "table3.md").read_text()
    assert bench("report", "--no-published", "--check")[0] == 0
    code, out, err = bench("report", "--check")
    assert code == 1
    assert "tables/table3.md: differs" in out
    assert err.splitlines()[-1].startswith("error: ")


def test_check_goes_with_the_whole_report(bench):
    code, _, err = bench("report", "--check", "--table", "3")
    assert code == 2
    assert "--table" in err


def test_compare_shows_times_and_scores(bench, tmp_path):
    other = Store(tmp_path / "other")
    other.write(latency_row("vit-s", 512, 6.0))
    other.write(hq_row("rwkvsam-s", three(70, 50)))
    code, out, _ = bench("compare", "results", "other")
    assert code == 0
    assert "| faster" in out.replace("  ", " ")
    assert "+4.00" in out
    kinds = [set(one) for one in json.loads(bench("compare", "results", "other", "--json")[1])]
    assert any("ratio" in kind for kind in kinds)
    assert any("difference" in kind for kind in kinds)
    assert "two of a kind" in bench("compare", "results", "vit-s")[2]
