import pytest
from linbench.results.schema import Cell, Row
from linbench.results.tabling.table1 import table1
from linbench.results.tabling.tables import to_csv, to_latex, to_markdown
from rows_for_tests import on


def stats_row(backbone, parameters=4_957_664, *, status="ok", created="2026-01-01T00:00:00", verified=("parameters",)):
    metrics = {"parameters": parameters, "macs_224": 1_280_090_112, "operator_flops_224": 15_278_592}
    samples = {"stage/stride": [4, 8, 16], "stage/channels": [32, 64, 192], "stage/blocks": [2, 4, 14]}
    provenance = {**on(), "run": {"verified": list(verified)}}
    if status == "failed":
        metrics, samples, provenance = {}, {}, on()
    cell = Cell("model-stats", backbone, {"sides": [224], "parameters": "backbone"})
    error = None if status == "ok" else "cannot be built"
    return Row(cell, status, metrics, samples, provenance, error, created_utc=created)


def text(table, line, column):
    (found,) = [cells for cells in table.cells if cells[0] == line]
    return found[table.columns.index(column)]


def test_stages_and_parameters_stand_beside_the_papers():
    (table,) = table1([stats_row("rwkvsam-t")])
    assert text(table, "rwkvsam-t", ("", "in the paper")) == "R-SAM-T"
    for stage, shown in (("stage 1", "2 x 32 / 4"), ("stage 2", "4 x 64 / 8"), ("stage 3", "14 x 192 / 16")):
        assert text(table, "rwkvsam-t", (stage, "paper")) == text(table, "rwkvsam-t", (stage, "measured")) == shown
    assert text(table, "rwkvsam-t", ("params (M)", "paper")) == "5.0"
    assert text(table, "rwkvsam-t", ("params (M)", "measured")) == "5.0"
    assert table.frame["params_m_delta"][0] == pytest.approx(-0.042336)
    assert text(table, "rwkvsam-t", ("GMAC at side", "224")) == "1.28"
    assert any("equals" in note for note in table.notes)


def test_the_papers_order_goes_before_the_alphabet_and_others_have_no_published_numbers():
    (table,) = table1([stats_row("aaa"), stats_row("rwkvsam-s"), stats_row("rwkvsam-t")])
    assert [line[0] for line in table.cells] == ["rwkvsam-t", "rwkvsam-s", "aaa"]
    assert text(table, "aaa", ("params (M)", "paper")) == "-"
    assert text(table, "aaa", ("stage 1", "paper")) == "-"


def test_the_newest_row_of_a_backbone_counts_whatever_its_machine():
    old = stats_row("rwkvsam-t", 1, created="2026-01-01T00:00:00")
    new = stats_row("rwkvsam-t", created="2026-02-01T00:00:00")
    new.provenance["device"] = on("another machine")["device"]
    for rows in ([old, new], [new, old]):
        (table,) = table1(rows)
        assert table.frame["params_m"][0] == pytest.approx(4.957664)


def test_a_failed_row_keeps_its_line_and_says_why():
    (table,) = table1([stats_row("rwkvsam-t", status="failed"), stats_row("rwkvsam-s")])
    assert text(table, "rwkvsam-t", ("params (M)", "measured")) == "fail"
    assert text(table, "rwkvsam-t", ("stage 2", "measured")) == "fail"
    assert any("cannot be built" in note for note in table.notes)
    assert not any("equals" in note for note in table.notes)


def test_counts_that_were_not_held_against_a_spec_are_not_called_verified():
    (table,) = table1([stats_row("timm:resnet18", verified=())])
    assert not any("equals" in note for note in table.notes)


def test_no_rows_no_table_and_all_forms_can_be_written():
    assert table1([]) == []
    tables = table1([stats_row("rwkvsam-t")])
    assert all("rwkvsam-t" in form for form in (to_markdown(tables), to_csv(tables), to_latex(tables)))
    assert all(len(line) == len(tables[0].columns) for line in (*tables[0].cells, *tables[0].sources))
