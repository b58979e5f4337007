import pytest
from linbench.results.schema import Cell, Row
from linbench.results.tabling.table6 import table6
from rows_for_tests import hq_row, latency_row, on, three

REFINE = ("conv", "mamba", "rwkv", "dcn")
ENCODERS = ("rwkvsam-s", "rwkvsam-s-1-1", "rwkvsam-s-2-2", "rwkvsam-s-3-3")


def fusion_rows(names=REFINE, sha="abc", created="2026-01-01T00:00:00", data="demo", **params):
    rows = []
    for place, name in enumerate(names):
        given = {"stage": "trained", "refine": name, "recipe_sha": sha, "seed": 0, "data": data, **params}
        rows.append(hq_row("rwkvsam-t", three(60 - place, 50), **given))
        rows[-1].created_utc = created
        rows[-1].provenance["run"] = {"steps": {"distill": 40, "joint": 120}}
    return rows


def speed_rows(names=REFINE, res=1024, device="Testor CPU 2000", **params):
    given = {"stage": "e2e", "prompts": 1, "weights": "random", **params}
    return [
        latency_row("rwkvsam-t", res, 100.0 * 2**place, refine=name, device=device, **given)
        for place, name in enumerate(names)
    ]


def encoder_rows(data="demo", names=ENCODERS):
    rows = []
    for place, name in enumerate(names):
        params = {"data": data, "recipe": "ablation", "recipe_sha": "abc", "seed": 0}
        rows.append(Row(Cell("classification", name, params), "ok", {"top1": 50.0 - place}, {}, on()))
        counts = {"parameters": 19_727_296 - 2_477_376 * place}
        rows.append(Row(Cell("model-stats", name, {"sides": [224]}), "ok", counts, {}, on()))
        rows.append(latency_row(name, 1024, 1000.0 + 100 * place))
    return rows


def text(table, line, column):
    (found,) = [cells for cells in table.cells if cells[0] == line]
    return found[table.columns.index(column)]


def test_every_fusion_has_its_line_beside_the_papers():
    (table,) = table6([*fusion_rows(), *speed_rows()])
    assert [line[0] for line in table.cells] == [*REFINE]
    assert text(table, "conv", ("", "in the paper")) == "RWKV-SAM + Conv Fusion"
    assert text(table, "dcn", ("FPS", "paper")) == "27.8"
    assert text(table, "conv", ("FPS", "measured")) == "10"
    assert text(table, "mamba", ("FPS over conv", "measured")) == "0.50"
    assert text(table, "mamba", ("FPS over conv", "paper")) == "0.95"
    assert text(table, "rwkv", ("DIS", "measured")) == "58.0"
    assert text(table, "rwkv", ("DIS over conv", "measured")) == "-2.0"
    assert text(table, "rwkv", ("DIS over conv", "paper")) == "-1.8"
    assert text(table, "conv", ("FPS", "delta")) == text(table, "conv", ("DIS", "delta")) == "-"
    for words in ("demo data", "Testor CPU 2000", "System: rwkvsam-t", "1024x1024"):
        assert words in table.caption


def test_differences_to_the_paper_need_its_data_and_its_device():
    (table,) = table6([*fusion_rows(data="real"), *speed_rows()])
    assert text(table, "conv", ("DIS", "delta")) == "-20.5"
    assert text(table, "conv", ("FPS", "delta")) == "-"
    a100 = "NVIDIA A100-SXM4-80GB"
    rows = fusion_rows()
    for row in rows:
        row.provenance = {**row.provenance, **on(a100)}
    (table,) = table6([*rows, *speed_rows(device=a100)])
    assert text(table, "conv", ("FPS", "delta")) == "-22.5"
    (table,) = table6([*rows, *speed_rows(res=512, device=a100)])
    assert text(table, "conv", ("FPS", "delta")) == "-", "another resolution"


def test_lines_of_two_recipes_are_never_mixed():
    old, new = fusion_rows(sha="old"), fusion_rows(REFINE[:3], sha="new", created="2026-02-01T00:00:00")
    (table,) = table6([*old, *new])
    assert "Recipe digest: old." in table.caption
    (table,) = table6([*new, *old[:2]])
    assert "Recipe digest: new." in table.caption
    assert text(table, "dcn", ("DIS", "measured")) == "-"


def test_a_training_that_the_clock_cut_short_is_told():
    rows = fusion_rows()
    (table,) = table6(rows)
    assert not any("Not all were trained alike" in note for note in table.notes)
    rows[3].provenance["run"] = {"steps": {"joint": 40}}
    (table,) = table6(rows)
    assert any("ended some after 40 steps, not 120" in note for note in table.notes)
    assert text(table, "dcn", ("", "steps")) == "0 + 40"


def test_speeds_of_other_settings_are_left_alone():
    other = [
        *speed_rows(batch=8),
        *speed_rows(prompts=20),
        *speed_rows(device="another machine"),
        *speed_rows(twin="a"),
        latency_row("rwkvsam-t", 1024, 1.0, stage="e2e", prompts=1),
    ]
    (table,) = table6([*fusion_rows(), *other])
    assert text(table, "conv", ("FPS", "measured")) == "-"
    assert "FPS: not measured on this device" in table.caption
    (table,) = table6([*fusion_rows(), *speed_rows(res=512), *speed_rows(), *speed_rows(res=2048)])
    assert "FPS at 1024x1024" in table.caption, "the paper's resolution goes before others"


def test_a_single_refine_module_makes_no_ablation():
    assert table6(fusion_rows(("conv",))) == []
    assert table6([hq_row("rwkvsam-t", three(60, 50), stage="trained"), *fusion_rows(("conv",))]) == []


def test_systems_named_after_their_backbone_find_their_speeds():
    rows = fusion_rows()
    rows = [Row(Cell("sam-hq", "vmamba-s", row.cell.params), "ok", row.metrics, {}, row.provenance) for row in rows]
    speeds = [Row(Cell("latency", "vmamba-s+sam", r.cell.params), "ok", r.metrics, {}, on()) for r in speed_rows()]
    (table,) = table6([*rows, *speeds])
    assert text(table, "conv", ("FPS", "measured")) == "10"


def test_the_encoders_stand_beside_the_papers():
    (table,) = table6(encoder_rows())
    assert [line[:2] for line in table.cells][1] == ("rwkvsam-s-1-1", "RWKVSAM-S (1-1)")
    assert text(table, "rwkvsam-s", ("FPS", "measured")) == "1"
    assert text(table, "rwkvsam-s-1-1", ("params (M)", "measured")) == "17.2"
    assert text(table, "rwkvsam-s-1-1", ("params (M)", "delta")) == "0.0"
    assert text(table, "rwkvsam-s-3-3", ("top-1", "measured")) == "47.0"
    assert text(table, "rwkvsam-s-3-3", ("top-1 over rwkvsam-s", "paper")) == "-2.8"
    assert text(table, "rwkvsam-s-3-3", ("top-1", "delta")) == "-"
    assert table.frame["fps"][1] == pytest.approx(1000 / 1100)


def test_classification_of_one_encoder_is_no_ablation():
    assert table6(encoder_rows(names=ENCODERS[:1])) == []


def test_both_halves_and_cells_with_sources():
    tables = table6([*encoder_rows(), *fusion_rows(), *speed_rows()])
    assert [table.frame["table"][0] for table in tables] == ["fusion", "encoder"]
    for table in tables:
        assert all(len(line) == len(table.columns) for line in (*table.cells, *table.sources))
        column = table.columns.index(("FPS", "measured"))
        assert all(len(line[column]) == 1 for line in table.sources)
