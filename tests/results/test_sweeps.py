"""Which rows stand for a cell where a later sweep measured some of an earlier one's cells again."""

from linbench.results.published import load_published
from linbench.results.reporting.report import make_report
from linbench.results.series import current, newest, of_one_sweep, superseded
from linbench.results.store import Store
from linbench.results.tabling.latency import panels
from linbench.results.tabling.speeds import speeds
from rows_for_tests import CPU, latency_row

ENCODER = "rwkvsam-s"
VARIANTS = (ENCODER, "rwkvsam-s-1-1")
SIZES = (512, 1024, 2048)


def sweep(name, ms, backbones, sizes=SIZES):
    rows = [latency_row(backbone, res, ms, batch=1) for backbone in backbones for res in sizes]
    for row in rows:
        row.provenance["schedule"] = {"sweep": name, "turns": f"{name}:0"}
    return rows


def curve(rows, backbone=ENCODER):
    (panel,) = panels(rows)
    (found,) = [one for one in panel.series if one.backbone == backbone]
    return {row.cell.params["res"]: row.metrics.get("latency_ms") for row in found.rows}


def test_a_curve_is_of_one_sweep_and_so_are_the_lines_of_an_ablation():
    main, ablation = sweep("main", 1.0, (ENCODER, "vit-s")), sweep("ablation", 2.0, VARIANTS, (1024,))
    rows = current([*main, *ablation])
    assert len(rows) == len(main) + len(ablation)
    assert curve(rows) == dict.fromkeys(SIZES, 1.0)
    published = load_published()["table6-encoder"]
    found = speeds(
        rows, published, device=CPU, stage="backbone", backbones=VARIANTS, variant=lambda row: row.cell.backbone
    )
    assert {name: [row.metrics["latency_ms"] for row in members] for name, members in found.items()} == {
        name: [2.0] for name in VARIANTS
    }


def test_a_later_whole_sweep_takes_the_place_of_all_before():
    rows = [*sweep("main", 1.0, (ENCODER,)), *sweep("ablation", 2.0, VARIANTS, (1024,))]
    again = sweep("again", 3.0, VARIANTS)
    assert current([*rows, *again]) == again
    assert curve([*rows, *again]) == dict.fromkeys(SIZES, 3.0)
    assert superseded(rows) == []
    assert {id(row) for row in superseded([*rows, *again])} == {id(row) for row in rows}


def test_where_no_sweep_has_all_points_each_is_the_newest():
    rows = [*sweep("small", 1.0, (ENCODER,), (512, 1024)), *sweep("large", 2.0, (ENCODER,), (1024, 2048))]
    assert curve(rows) == {512: 1.0, 1024: 2.0, 2048: 2.0}
    assert of_one_sweep(rows) == newest(rows)


def test_a_newer_error_is_not_hidden_by_an_older_sweep():
    rows = [*sweep("old", 1.0, (ENCODER,)), *sweep("new", 2.0, (ENCODER,), (512, 1024))]
    rows.append(latency_row(ENCODER, 2048, status="oom", batch=1))
    assert curve(rows) == {512: 2.0, 1024: 2.0, 2048: None}


def test_a_report_draws_its_curves_of_one_sweep(tmp_path):
    store = Store(tmp_path)
    for row in [*sweep("main", 1.0, (ENCODER,)), *sweep("ablation", 2.0, (ENCODER,), (1024,))]:
        store.write(row)
    make_report(store, tmp_path, only="latency")
    assert "2.00" not in (tmp_path / "tables" / "latency.md").read_text()
    assert [row.metrics["latency_ms"] for row in store.latest() if row.cell.params["res"] == 1024] == [2.0]
