import pytest
from linbench.results.tabling.table7 import CURVE, table7
from rows_for_tests import hq_row

SCORES = {"DIS": (60.0, 50.0), "COIFT": (70.0, 60.0), "HRSOD": (65.0, 55.0)}
WORSE = {"DIS": (50.5, 40.0), "COIFT": (61.0, 50.0), "HRSOD": (58.0, 45.0)}


def pair(sha="abc", seed=0, data="demo", created="2026-01-01T00:00:00", device="Testor CPU 2000"):
    shared = {"stage": "trained", "recipe": "ablation", "recipe_sha": sha, "seed": seed, "data": data}
    curves = {CURVE: [1.5, 0.9, 0.4]}
    rows = [
        hq_row("rwkvsam-t", SCORES, encoder="distilled", samples=curves, device=device, **shared),
        hq_row("rwkvsam-t", WORSE, encoder="fresh", device=device, **shared),
    ]
    for row, steps in zip(rows, ({"distill": 40, "joint": 120}, {"joint": 120}), strict=True):
        row.created_utc = created
        row.provenance["run"] = {"steps": steps}
    return rows


def text(table, line, column):
    (found,) = [cells for cells in table.cells if cells[0] == line]
    return found[table.columns.index(column)]


def test_both_trainings_stand_beside_the_papers():
    (table,) = table7(pair())
    assert [line[:2] for line in table.cells] == [("distilled", "RWKV-SAM"), ("not distilled", "RWKV-SAM (no dist)")]
    assert text(table, "distilled", ("DIS", "paper")) == "80.5"
    assert text(table, "distilled", ("DIS", "measured")) == "60.0"
    assert text(table, "not distilled", ("DIS over distilled", "measured")) == "-9.5"
    assert text(table, "not distilled", ("DIS over distilled", "paper")) == "-2.2"
    assert text(table, "distilled", ("distillation MSE", "first")) == "1.5"
    assert text(table, "distilled", ("distillation MSE", "last")) == "0.4"
    assert text(table, "not distilled", ("distillation MSE", "last")) == "-"
    assert text(table, "distilled", ("", "steps")) == "40 + 120"
    assert text(table, "not distilled", ("", "steps")) == "0 + 120"
    assert "demo data" in table.caption
    assert "Testor CPU 2000" in table.caption
    assert table.frame["DIS/miou_delta"].isna().all()


def test_on_real_data_the_difference_to_the_paper_is_given():
    (table,) = table7(pair(data="real"))
    assert text(table, "distilled", ("DIS", "delta")) == "-20.5"
    assert table.frame["DIS/miou_delta"][0] == pytest.approx(-20.5)


def test_of_two_recipes_the_newest_complete_pair_counts():
    old = pair("old", created="2026-01-01T00:00:00")
    new = pair("new", created="2026-02-01T00:00:00")
    (table,) = table7([*new, *old])
    assert "Recipe digest: new." in table.caption
    (table,) = table7([*old, new[0]])
    assert "Recipe digest: old." in table.caption, "a pair goes before a newer half"


def test_a_training_without_its_counterpart_makes_no_table_and_rows_of_two_machines_no_pair():
    rows = pair()
    assert table7(rows[:1]) == []
    ours, _ = rows
    _, theirs = pair(device="another machine")
    (table,) = table7([ours, theirs])
    assert "another machine" in table.caption
    assert text(table, "distilled", ("DIS", "measured")) == "-"


def test_seeds_that_both_have_are_averaged():
    rows = [*pair(seed=0), *pair(seed=1)]
    alone = pair(seed=2)[0]
    alone.metrics["DIS/miou"] = 0.0
    (table,) = table7([*rows, alone])
    assert text(table, "distilled", ("DIS", "measured")) == "60.0±0.0"
    assert "Seeds: 0, 1." in table.caption


def test_a_failed_training_has_its_mark():
    ours, _ = pair()
    params = {**dict(ours.cell.params), "encoder": "fresh"}
    failed = hq_row("rwkvsam-t", None, status="failed", **params)
    (table,) = table7([ours, failed])
    assert text(table, "not distilled", ("DIS", "measured")) == "fail"
    assert any("it broke" in note for note in table.notes)
