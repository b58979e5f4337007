from dataclasses import replace

import pytest
from linbench.results.reporting.mixing import mix_devices
from linbench.results.tabling.best import best_parts, read_number
from linbench.results.tabling.latency import latency_tables
from linbench.results.tabling.latex import to_latex
from linbench.results.tabling.measured_only import without_published
from linbench.results.tabling.table3 import table3
from linbench.results.tabling.tables import to_markdown
from rows_for_tests import hq_row, latency_row, three


@pytest.mark.parametrize(
    ("texts", "goal", "best"),
    [
        (["61.0", "62.5", "-"], "high", [(), (0,), ()]),
        (["61.0 / 50.0", "62.5 / 40.0", "OOM"], "high", [(1,), (0,), ()]),
        (["3.1", "2.0±0.5", "fail"], "low", [(), (0,), ()]),
        (["62.5", "62.5", "1.0"], "high", [(0,), (0,), ()]),
        (["10.0 [9.0, 11.0]", "12.0 [10.5, 13.0]", "20.0 [19.0, 21.0]"], "low", [(0,), (0,), ()]),
        (["99.0†", "62.5", "60.0"], "high", [(), (0,), ()]),
        (["62.5", "-"], "high", [(), ()]),
        (["-3.5", "+1.5"], "high", [(), (0,)]),
    ],
)
def test_the_best_of_a_column_and_what_ties_with_it(texts, goal, best):
    assert best_parts(texts, goal) == [frozenset(places) for places in best]


def test_marks_and_unstable_numbers_are_no_numbers():
    assert [read_number(text) for text in ("-", "OOM", "skip", "fail", "12.5†", "")] == [None] * 6


def test_the_best_is_bold_in_markdown_and_latex():
    rows = [hq_row("rwkvsam-s", three(66, 55)), hq_row("vit-s", three(70, 50))]
    tables = table3(rows)
    assert "66.0 / **55.0**" in to_markdown(tables)
    assert "**70.0** / 50.0" in to_markdown(tables)
    assert r"66.0 / \textbf{55.0}" in to_latex(tables)


def test_without_published_numbers_only_measured_columns_lines_and_notes_are_left():
    (table,) = table3([hq_row("rwkvsam-s", three(66, 55), data="real"), hq_row("vit-s", three(70, 50), data="real")])
    found = without_published(table)
    assert [line[0] for line in found.cells] == ["rwkvsam-s", "vit-s"]
    assert {name for _, name in found.columns}.isdisjoint({"paper", "delta", "in the paper"})
    assert len(found.frame) == 2
    assert not [name for name in found.frame if name.endswith(("_paper", "_delta", "paper_label"))]
    text = to_markdown([found])
    assert "Paper" not in text
    assert "80.5" not in text
    assert {len(line) for line in found.cells} == {len(found.columns)}
    assert {len(line) for line in found.sources} <= {len(found.columns)}


def test_a_table_of_the_paper_alone_vanishes_without_it():
    (table,) = table3([hq_row("rwkvsam-s", three(66, 55))])
    lines = [index for index, status in enumerate(table.frame["status"]) if status is None]
    printed = replace(
        table,
        cells=tuple(table.cells[line] for line in lines),
        sources=tuple(table.sources[line] for line in lines) if table.sources else (),
        frame=table.frame.loc[lines].reset_index(drop=True),
    )
    assert without_published(printed) is None


def test_devices_share_a_table_only_where_asked_for():
    rows = [hq_row("vit-s", three(60, 50)), hq_row("vit-s", three(61, 50), device="GPU B")]
    assert len(table3(rows)) == 2
    (table,) = table3(mix_devices(rows))
    labels = [line[0] for line in table.cells if line[1] != "only there"]
    assert labels == ["vit-s (machine=1)", "vit-s (machine=2)"]
    assert "1 GPU B; 2 Testor CPU 2000" in table.caption
    assert mix_devices(rows[:1]) == rows[:1]


def test_a_cpu_with_several_threads_is_one_machine():
    rows = [latency_row("vit-s", 512, 1.0, threads=1), latency_row("vit-s", 512, 0.6)]
    assert mix_devices(rows) == rows
    gpu = latency_row("vit-s", 512, 0.1, device="GPU B", threads=None)
    assert [row.cell.params["machine"] for row in mix_devices([rows[0], gpu])] == [2, 1]
    mixed = mix_devices([*rows, gpu])
    assert [row.cell.params["machine"] for row in mixed] == ["2, 1 thread", "2, 2 threads", 1]
    overview, _ = latency_tables(mixed)
    assert "1 GPU B; 2 Testor CPU 2000, 1 or 2 threads" in overview.caption
    assert "vit-s (machine=2, 1 thread)" in {line[0] for line in overview.cells}
