from linbench.results.schema import Cell, Row
from linbench.results.tabling.table4 import table4
from rows_for_tests import on


def row(backbone, top1=None, *, status="ok", device="Testor CPU 2000", run=None, **params):
    given = {"data": "real", "dataset_fingerprints": {"ImageNet val": "f" * 16}, "size": 224, "limit": None}
    metrics = {}
    if top1 is not None:
        metrics = {"top1": top1, "top5": 95.0, "top1_before": 0.1, "images": 50_000, "chance_top1": 0.1, "dim": 384}
        metrics |= {"params_backbone": 19_727_296, "params_total": 20_112_296}
    provenance = {**on(device), "run": {"mixer": "bi-wkv", "steps": {"train": 7}, **(run or {})}}
    error = None if top1 is not None else "it broke"
    return Row(Cell("classification", backbone, given | params), status, metrics, {}, provenance, error)


def cell(table, line, column):
    (found,) = [cells for cells in table.cells if cells[0] == line]
    return found[table.columns.index(column)]


def test_measured_stands_beside_published():
    (table,) = table4([row("rwkvsam-s", 80.4, recipe="paper", seed=0)])
    assert cell(table, "rwkvsam-s", ("", "in the paper")) == "RWKV-SAM-S (Ours)"
    assert cell(table, "rwkvsam-s", ("", "block")) == "bi-wkv"
    assert cell(table, "rwkvsam-s", ("", "dim")) == "384"
    assert cell(table, "rwkvsam-s", ("params (M)", "measured")) == "19.7"
    assert cell(table, "rwkvsam-s", ("top-1", "paper")) == "80.9"
    assert cell(table, "rwkvsam-s", ("top-1", "measured")) == "80.4"
    assert cell(table, "rwkvsam-s", ("top-1", "delta")) == "-0.5"
    assert cell(table, "Vim-T", ("top-1", "measured")) == "-"
    assert len(table.cells) == 8
    assert "50,000" in table.caption


def test_other_images_and_parts_of_them_get_no_difference():
    (demo,) = table4([row("rwkvsam-s", 60, data="demo")])
    assert cell(demo, "rwkvsam-s", ("top-1", "delta")) == "-"
    assert "procedurally drawn" in demo.caption
    (part,) = table4([row("rwkvsam-s", 60, limit=100)])
    assert cell(part, "rwkvsam-s", ("top-1", "delta")) == "-"
    assert "Only the first 100 images" in part.caption


def test_seeds_are_averaged_recipes_weights_devices_and_data_are_not():
    rows = [
        row("vit-s", 60, recipe="demo", recipe_sha="1", seed=0),
        row("vit-s", 64, recipe="demo", recipe_sha="1", seed=1),
        row("vit-s", 70, weights="abcdef1234567890", stage="weights-only"),
        row("vit-s", 80, device="GPU B"),
        row("vit-s", 81, dataset_fingerprints={"ImageNet val": "e" * 16}),
    ]
    tables = table4(rows)
    texts = sorted(
        line[table.columns.index(("top-1", "measured"))]
        for table in tables
        for line in table.cells
        if line[0].startswith("vit-s")
    )
    assert texts == ["62.0±2.8", "70.0", "80.0", "81.0"]
    starts = {line[table.columns.index(("", "recipe or weights"))] for table in tables for line in table.cells}
    assert {"demo", "weights abcdef12"} <= starts


def test_a_failed_row_shows_its_mark_and_what_was_left_out_is_told():
    rows = [row("vit-s", status="failed"), row("vim-s", 60, run={"bad_images": ["a.jpg: unreadable image"]})]
    (table,) = table4(rows)
    assert cell(table, "vit-s", ("top-1", "measured")) == "fail"
    assert any("it broke" in note for note in table.notes)
    assert any("a.jpg: unreadable image" in note for note in table.notes)


def test_rows_of_other_suites_make_no_table():
    assert table4([Row(Cell("sam-hq", "vit-s", {}), "ok", {"miou": 3.0}, {}, on())]) == []
