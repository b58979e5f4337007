"""Table 5 from stored rows: published beside measured, the difference only on ADE20K itself."""

import pytest
from linbench.results.schema import Cell, Row
from linbench.results.tabling.table5 import table5
from linbench.results.tabling.tables import to_markdown

PROVENANCE = {"device": {"name": "H100"}, "run": {"steps": 160_000}}


def row(backbone, miou=None, *, seed=0, status="ok", **params):
    shared = {"data": "real", "datasets": ["ADE20K"], "dataset_fingerprints": {"ADE20K": "ab12"}, "classes": 150}
    shared |= {"classes_sha": "c0", "limit": None}
    if not backbone.startswith("baseline:"):
        shared |= {"decoder": "upernet", "scale": [2048, 512], "inference": "whole", "kernels": "auto", "seed": seed}
        shared |= {"stage": "trained", "weights": "pretrained", "recipe": "paper"}
    metrics = {} if miou is None else {"miou": miou, "macc": miou + 10, "aacc": miou + 30, "params_backbone": 5_934_176}
    return Row(Cell("ade20k", backbone, {**shared, **params}), status, metrics=metrics, provenance=PROVENANCE)


def cells(table, name):
    line = next(index for index, cells in enumerate(table.cells) if cells[0] == name)
    heads = [f"{group} {head}".strip() for group, head in table.columns]
    return dict(zip(heads, table.cells[line], strict=True))


def test_published_measured_and_difference():
    (table,) = table5([row("rwkvsam-t", 40.6), row("rwkvsam-t", 41.0, seed=1), row("baseline:commonest", 0.1)])
    line = cells(table, "rwkvsam-t")
    assert line["mIoU paper"] == "41.1"
    assert line["mIoU measured"].startswith("40.8±0.3")
    assert line["mIoU delta"] == "-0.3"
    assert line["params (M) measured"] == "5.9±0.0"
    assert line["params (M) paper"] == "5.9"
    assert line["seeds"] == "0, 1"
    assert cells(table, "baseline:commonest")["mIoU measured"] == "0.1"
    assert cells(table, "Vim-S")["mIoU paper"] == "44.9"
    assert [line[0] for line in table.cells][-1] == "baseline:commonest"
    assert table.frame["miou"][2] == pytest.approx(40.8)
    assert "| rwkvsam-t " in to_markdown([table])


def test_the_ade_name_is_the_same_line_of_the_paper():
    (table,) = table5([row("rwkvsam-t-ade", 41.0)])
    assert cells(table, "rwkvsam-t-ade")["in the paper"] == "RWKV-SAM-T (Ours)"


def test_no_difference_is_given_on_other_data():
    for params in ({"data": "demo"}, {"limit": 10}):
        (table,) = table5([row("rwkvsam-t", 41.0, **params)])
        assert cells(table, "rwkvsam-t")["mIoU delta"] == "-"
    (other,) = table5([row("rwkvsam-t", 41.0, data="folders", datasets=["CamVid"])])
    assert "Vim-S" not in [line[0] for line in other.cells]


def test_settings_do_not_share_a_line_and_failures_are_told():
    rows = [row("vit-t", 30.0), row("vit-t", 31.0, inference="slide", crop=512, stride=341)]
    assert len(table5(rows)) == 2
    (table,) = table5([row("vit-t", 30.0), row("vit-s", status="failed")])
    assert cells(table, "vit-s")["mIoU measured"] == "fail"
    alone = table5([row("baseline:commonest", 0.1)])
    assert len(alone) == 1
    assert table5([]) == []
