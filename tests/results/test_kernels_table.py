import pandas as pd
import pytest
from linbench.results.kernels_table import bound_by, kernel_tables
from linbench.results.report import write_report
from linbench.results.schema import Cell, Row
from linbench.results.store import Store
from linbench.results.tables import to_csv, to_latex, to_markdown
from rows_for_tests import CPU, on

WHY = "it serves cuda tensors, got cpu"


def kernel_row(backend, ms=None, *, operator="bi_wkv", status="ok", error=None, device=CPU, rms=1e-6, **params):
    given = {"case": "rwkvsam-s 1024", "shape": "B=1,T=4096,C=192", "backend": backend, "dtype": "fp32"}
    given |= {"direction": "forward", "device": "cpu", "threads": 2, "launch": "eager", "cache": "warm", "seed": 0}
    metrics = {} if status == "unsupported" else {"error_rms": rms}
    if ms is not None:
        metrics |= {"time_ms": ms, "time_ms_low": 0.98 * ms, "time_ms_high": 1.02 * ms, "first_call_ms": 1500.0}
        metrics |= {"bytes": 10**7, "flops": 10**8, "exps": 10**6, "gb_per_s": 10 / ms, "gflops_per_s": 100 / ms}
        metrics |= {"bound_ms": 1.0, "roofline_fraction": 1.0 / ms, "copy_gb_per_s": 10.0, "large_copy_gb_per_s": 9.0}
        metrics |= {"matrix_gflops_per_s": 200.0, "peak_gexps_per_s": 5.0}
    return Row(Cell("kernels", operator, given | params), status, metrics, {}, on(device), error)


def rows():
    return [
        kernel_row("torch", 40.0),
        kernel_row("cpu", 4.0),
        kernel_row("near", 4.02),
        kernel_row("broken", status="wrong", rms=0.5, error="output differs"),
        kernel_row("triton", status="unsupported", error=WHY),
    ]


def line(table, backend):
    names = [name for _, name in table.columns]
    place = names.index("implementation")
    (found,) = [cells for cells in table.cells if cells[place] == backend]
    return dict(zip([" ".join(filter(None, head)) for head in table.columns], found, strict=True))


def test_fastest_first_and_ratios_to_it():
    (table,) = kernel_tables(rows())
    assert [cells[3] for cells in table.cells][:3] == ["cpu", "near", "torch"]
    assert line(table, "cpu")["vs fastest"] == "1"
    assert line(table, "near")["vs fastest"].endswith("(tie)")
    assert line(table, "torch")["vs fastest"] == "10.00"
    assert line(table, "cpu")["time (ms) 95 %"] == "[3.92, 4.08]"
    assert line(table, "cpu")["roofline share"] == "25 %"
    assert line(table, "cpu")["roofline set by"] == "copying"
    assert line(table, "cpu")["first call (s)"] == "1.5"
    assert line(table, "cpu")["shape"] == "rwkvsam-s 1024 (B1 T4096 C192)"


def test_a_wrong_implementation_shows_its_error_and_no_time():
    (table,) = kernel_tables(rows())
    wrong = line(table, "broken")
    assert wrong["time (ms) median"] == "wrong"
    assert wrong["error"] == "5.0e-01"
    assert {wrong[name] for name in ("time (ms) 95 %", "vs fastest", "GB/s", "roofline share")} == {"-"}
    assert "broken: wrong: output differs" in table.notes
    assert line(table, "triton")["time (ms) median"] == "unsupported"
    assert f"triton: unsupported: {WHY}" in table.notes


def test_threads_are_a_column_with_the_scaling_where_there_are_several():
    found = [kernel_row("cpu", 4.0), kernel_row("cpu", 7.0, threads=1), kernel_row("torch", 40.0)]
    (table,) = kernel_tables(found)
    by_threads = {(cells[3], cells[4]): cells for cells in table.cells}
    scaling = [name for _, name in table.columns].index("vs 1 thread")
    assert by_threads["2", "cpu"][scaling] == "1.75"
    assert by_threads["1", "cpu"][scaling] == "1"
    assert by_threads["2", "torch"][scaling] == "-"
    assert "threads" not in [name for _, name in kernel_tables([kernel_row("cpu", 4.0)])[0].columns]


def test_a_table_a_device_and_operator():
    found = [*rows(), kernel_row("cpu", 1.0, operator="q_shift"), kernel_row("triton", 0.1, device="GPU B")]
    tables = kernel_tables(found)
    assert [(table.title, CPU in table.caption) for table in tables] == [
        ("Operator bi_wkv", False),
        ("Operator bi_wkv", True),
        ("Operator q_shift", True),
    ]
    explained = ["roofline: the least time" in " ".join(table.notes) for table in tables]
    assert explained == [False, False, True], "columns are explained once"
    assert kernel_tables([]) == []


def test_what_sets_the_roofline():
    row = kernel_row("cpu", 4.0)
    assert bound_by(row) == "copying"
    row.metrics["exps"] = 10**8
    assert bound_by(row) == "exponentials"
    row.metrics["flops"] = 10**12
    assert bound_by(row) == "arithmetic"


def test_all_forms_hold_the_same_lines():
    tables = kernel_tables(rows())
    assert "rwkvsam-s 1024 (B1 T4096 C192)" in to_markdown(tables)
    assert r"\begin{table*}" in to_latex(tables)
    lines = to_csv(tables).splitlines()
    assert len(lines) == 6
    frame = tables[0].frame
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["over_fastest"])[:3] == [1.0, pytest.approx(1.005), 10.0]


def test_the_report_writes_table_and_figure_and_is_repeatable(tmp_path):
    store = Store(tmp_path)
    for row in rows():
        store.write(row)
    paths = write_report(store, tmp_path)
    assert [path.name for path in paths] == [
        "kernels.md",
        "kernels.csv",
        "kernels.tex",
        "kernels.png",
        "kernels.svg",
        "kernels.pdf",
    ]
    before = [path.read_bytes() for path in paths]
    write_report(store, tmp_path)
    assert [path.read_bytes() for path in paths] == before
