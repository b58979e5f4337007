"""Stages, parameters and multiply-adds of backbones, found without running them."""

from dataclasses import replace

import pytest
from linbench.backbones import backbone_spec
from linbench.errors import UsageError
from linbench.results.store import Store
from linbench.suites.stats import MODEL_STATS, ModelStatsOptions, model_stats
from linbench.suites.stats.layout import stages_of


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("rwkvsam-t", [(4, 32, 2), (8, 64, 4), (16, 192, 14)]),
        ("rwkvsam-s-2-2", [(4, 64, 4), (8, 128, 6), (16, 384, 10)]),
        ("rwkvsam-t-ade", [(4, 32, 2), (8, 64, 4), (16, 192, 14), (32, 384, 1)]),
        ("vit-t", [(16, 192, 12)]),
        ("vim-t", [(16, 192, 24)]),
        ("vmamba-t", [(4, 96, 2), (8, 192, 2), (16, 384, 5), (32, 768, 2)]),
        ("efficientvmamba-t", [(4, 48, 2), (8, 96, 2), (16, 192, 4), (32, 384, 2)]),
        ("tinyvit-5m", [(4, 64, 2), (8, 128, 2), (16, 160, 6), (16, 320, 2)]),
        ("timm:resnet18", [(2, 64, 0), (4, 64, 2), (8, 128, 2), (16, 256, 2), (32, 512, 2)]),
    ],
)
def test_blocks_are_found_where_they_stand(name, stages):
    _, found = stages_of(name)
    assert [(stage.stride, stage.channels, stage.blocks) for stage in found] == stages


def test_early_blocks_are_told_from_the_convolutions():
    _, found = stages_of("rwkvsam-s-1-1")
    assert [dict(stage.kinds) for stage in found] == [
        {"MBConv": 2, "RwkvBlock": 1},
        {"MBConv": 4, "RwkvBlock": 1},
        {"RwkvBlock": 12},
    ]


def test_counts_are_held_against_the_spec_and_kept(tmp_path, monkeypatch):
    store = Store(tmp_path)
    options = ModelStatsOptions(("rwkvsam-t",))
    (row,) = MODEL_STATS.run(options, store=store)
    assert row.status == "ok"
    assert row.metrics["parameters"] == 4_957_664
    assert row.metrics["macs_224"] == 1_280_090_112
    assert row.provenance["run"]["verified"] == [
        "macs_1024", "macs_224", "operator_flops_1024", "operator_flops_224", "parameters"
    ]  # fmt: skip
    assert [cell.key for cell in MODEL_STATS.plan(options)] == [row.cell.key]
    (again,) = MODEL_STATS.run(options, store=store)
    assert again.created_utc == row.created_utc
    true = backbone_spec("rwkvsam-t")
    monkeypatch.setattr(model_stats, "backbone_spec", lambda _: replace(true, params={"backbone": 5_000_000}))
    (wrong,) = MODEL_STATS.run(options, store=store)
    assert wrong.status == "wrong"
    assert wrong.error == "parameters is 4957664, its spec says 5000000"


def test_a_model_without_a_spec_is_counted_and_not_called_verified(tmp_path):
    (row,) = MODEL_STATS.run(ModelStatsOptions(("timm:resnet18",), (64,)), store=Store(tmp_path))
    assert (row.status, row.provenance["run"]["verified"]) == ("ok", [])
    assert row.metrics["parameters"] == 11_176_512
    assert row.metrics["macs_64"] > 1e8


def test_a_backbone_that_cannot_be_built_does_not_stop_the_others(tmp_path, monkeypatch):
    import linbench.suites.stats.layout as layout

    real = layout.create_backbone

    def create(name):
        if name == "rwkvsam-t":
            raise RuntimeError("no memory left\nat all")
        return real(name)

    monkeypatch.setattr(layout, "create_backbone", create)
    rows = list(MODEL_STATS.run(ModelStatsOptions(("rwkvsam-t", "vit-t"), (224,)), store=Store(tmp_path)))
    assert [(row.status, row.error) for row in rows] == [("failed", "no memory left"), ("ok", None)]


def test_patterns_name_backbones():
    assert ModelStatsOptions(("rwkvsam-?", "rwkvsam-s")).names() == ("rwkvsam-t", "rwkvsam-s", "rwkvsam-b")


@pytest.mark.parametrize(
    ("backbones", "sides", "words"),
    [
        ((), (224,), "no backbone given"),
        (("rwkvsam-x",), (224,), "Did you mean"),
        (("zzz*",), (224,), "no backbone is called like 'zzz\\*'"),
        (("rwkvsam-t",), (100,), "--res 100: rwkvsam-t takes sides that are multiples of 16"),
        (("rwkvsam-t",), (), "positive sides"),
    ],
)
def test_options_that_cannot_be_meant(backbones, sides, words):
    with pytest.raises(UsageError, match=words):
        ModelStatsOptions(backbones, sides)
