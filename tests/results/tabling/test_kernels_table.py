import pandas as pd
import pytest
from linbench.results.reporting.report import write_report
from linbench.results.store import Store
from linbench.results.tabling.kernels import bound_by, kernel_tables
from linbench.results.tabling.tables import to_csv, to_latex, to_markdown
from rows_for_tests import CPU, WHY, kernel_row, kernel_rows


def line(table, backend):
    names = [name for _, name in table.columns]
    place = names.index("implementation")
    (found,) = [cells for cells in table.cells if cells[place] == backend]
    return dict(zip([" ".join(filter(None, head)) for head in table.columns], found, strict=True))


def test_fastest_first_and_ratios_to_it():
    (table,) = kernel_tables(kernel_rows())
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
    (table,) = kernel_tables(kernel_rows())
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
    found = [*kernel_rows(), kernel_row("cpu", 1.0, operator="q_shift"), kernel_row("triton", 0.1, device="GPU B")]
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
    tables = kernel_tables(kernel_rows())
    assert "rwkvsam-s 1024 (B1 T4096 C192)" in to_markdown(tables)
    assert r"\begin{table*}" in to_latex(tables)
    lines = to_csv(tables).splitlines()
    assert len(lines) == 6
    frame = tables[0].frame
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["over_fastest"])[:3] == [1.0, pytest.approx(1.005), 10.0]


def test_the_report_writes_table_and_figure_and_is_repeatable(tmp_path):
    store = Store(tmp_path)
    for row in kernel_rows():
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
