"""The ablations of decoder and distillation: what they plan, what they train, and the tables of their rows."""

from dataclasses import replace

import pytest
import torch
from linbench.errors import UsageError
from linbench.heads.sam import create_system
from linbench.results.store import Store
from linbench.results.tabling.table7 import CURVE, table7
from linbench.suites.ablations.distill import SUITE as DISTILL
from linbench.suites.ablations.fusion import SUITE as FUSION
from linbench.suites.ablations.options import MaskAblationOptions, Speed
from linbench.suites.ablations.recipes import FUSION_RECIPES
from linbench.suites.training.pipeline import copy_decoder, copy_encoder
from linbench.suites.training.recipes import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = load_recipe(
    "demo",
    [
        *("frame=64", "eval_frame=64", "precision=fp32", "loss.points=128", "augmentation.min_area=4"),
        *("distill.steps=4", "distill.images=2", "joint.steps=2", "joint.images=2"),
    ],
    FUSION_RECIPES,
)
SETS = {
    "DIS5K/DIS-VD": ("im", "gt"),
    "DIS5K/DIS-TR": ("im", "gt"),
    "COIFT": ("images", "masks"),
    "HRSOD": ("images", "masks_max255"),
}


@pytest.fixture
def options(draw_discs, tmp_path):
    for folder, (images, masks) in SETS.items():
        draw_discs(tmp_path / "data" / folder, images, masks, 3)
    return MaskAblationOptions(
        recipe=TINY, data=tmp_path / "data", cache=tmp_path / "cache", workers=0, speed=Speed(64, budget_s=0.1)
    )


def test_variants_differ_in_the_refine_module_alone(options):
    cells = FUSION.plan(options)
    assert [(cell.suite, cell.backbone) for cell in cells] == [
        *[("latency", "rwkvsam-t")] * 4,
        ("sam-hq", "baseline:box"),
        *[("sam-hq", "rwkvsam-t")] * 4,
    ]
    for some in (cells[:4], cells[5:]):
        assert [cell.params["refine"] for cell in some] == ["conv", "mamba", "rwkv", "dcn"]
        rest = [{name: value for name, value in cell.params.items() if name != "refine"} for cell in some]
        assert all(one == rest[0] for one in rest)
    assert (cells[0].params["stage"], cells[0].params["prompts"], cells[0].params["res"]) == ("e2e", 1, 64)
    assert cells[5].params["share_refine"] is False
    assert cells[5].params["datasets"] == ["DIS", "COIFT", "HRSOD"]
    assert len({cell.key for cell in cells}) == len(cells)


def test_where_the_encoder_starts_is_the_same_for_all(options, tmp_path):
    own = FUSION.plan(options)[5:]
    assert {cell.params["encoder"] for cell in own} == {"copied"}, "the demo teacher has this backbone"
    other = FUSION.plan(replace(options, backbone="rwkvsam-s"))[5:]
    assert {cell.params["encoder"] for cell in other} == {"distilled"}
    _, distilled, fresh = DISTILL.plan(options)
    assert {**fresh.params} == {**distilled.params, "encoder": "fresh"}
    assert distilled.params["encoder"] == "distilled"


def test_training_with_and_without_distillation_gives_table_7(options, tmp_path):
    store = Store(tmp_path / "results")
    events = []
    rows = list(DISTILL.run(options, store=store, progress=events.append))
    assert [(row.cell.backbone, row.status) for row in rows] == [
        ("baseline:box", "ok"),
        ("rwkvsam-t", "ok"),
        ("rwkvsam-t", "ok"),
    ]
    _, distilled, plain = rows
    assert distilled.provenance["run"]["steps"] == {"distill": 4, "joint": 2}
    assert plain.provenance["run"]["steps"] == {"joint": 2}
    assert distilled.provenance["run"]["recipe"] == plain.provenance["run"]["recipe"] == TINY.to_dict()
    assert distilled.samples[CURVE][-1] < distilled.samples[CURVE][0]
    assert CURVE not in plain.samples
    assert "curve/distill fine" in distilled.samples
    assert distilled.samples["DIS/iou"] != plain.samples["DIS/iou"]
    assert {event.total for event in events} == {3}
    (table,) = table7(store.rows())
    assert [line[0] for line in table.cells] == ["distilled", "not distilled"]
    measured = table.columns.index(("DIS", "measured"))
    assert [line[measured] for line in table.cells] == [f"{row.metrics['DIS/miou']:.1f}" for row in (distilled, plain)]
    assert "Start: from demo" in table.caption
    again = list(DISTILL.run(options, store=store))
    assert [row.created_utc for row in again] == [row.created_utc for row in rows]


def test_a_copied_encoder_needs_the_same_backbone():
    teacher, student = create_system("rwkvsam-t", refine="conv"), create_system("rwkvsam-t", refine="dcn")
    copy_encoder(teacher, student)
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        if name.startswith(("backbone.", "neck.")):
            assert torch.equal(value, theirs[name]), name
    with pytest.raises(UsageError, match="another backbone"):
        copy_encoder(create_system("vit-t+sam"), student)


def test_only_the_refine_module_of_the_teacher_is_left_out():
    torch.manual_seed(3)
    teacher, student = (create_system("rwkvsam-t", refine="conv") for _ in range(2))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    copy_decoder(teacher, student, refine=False)
    theirs = teacher.state_dict()
    for name, value in student.state_dict().items():
        decoder = name.startswith(("mask_decoder.", "prompt_encoder."))
        copied = decoder and not name.startswith("mask_decoder.refine.")
        assert torch.equal(value, theirs[name] if copied else before[name]), name
    copy_decoder(teacher, student)
    own = student.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own if name.startswith("mask_decoder."))


@pytest.mark.parametrize(
    ("suite", "change", "words"),
    [
        (FUSION, {"backbone": "vit-s"}, "'vit-s' has no maps of strides 4 and 8"),
        (FUSION, {"backbone": "rwkvsam-x"}, "Did you mean"),
        (FUSION, {"speed": Speed(resolution=100)}, "resolution 100 is not a positive multiple of 16"),
        (FUSION, {"speed": Speed(dtype="fp8")}, "dtype 'fp8' is not known"),
        (FUSION, {"kernels": "cuda"}, "kernels 'cuda' are not known"),
        (FUSION, {"teacher": "none"}, "start with a teacher's decoder"),
        (DISTILL, {"device": "tpu"}, "--device 'tpu' is not known"),
        (DISTILL, {"recipe": load_recipe("demo", ["distill.steps=0"], FUSION_RECIPES)}, "no distillation to leave out"),
        (DISTILL, {"recipe": load_recipe("demo", ["joint.steps=0"], FUSION_RECIPES)}, "has no joint stage"),
    ],
)
def test_what_cannot_run_is_told_before_anything_is_measured(options, tmp_path, suite, change, words):
    store = Store(tmp_path / "results")
    with pytest.raises(UsageError, match=words):
        list(suite.run(replace(options, **change), store=store))
    assert store.rows() == []


def test_a_single_scale_backbone_is_distilled_under_the_plain_decoder(options):
    _, distilled, plain = DISTILL.plan(replace(options, backbone="vit-t"))
    assert "refine" not in distilled.params
    assert (distilled.params["encoder"], plain.params["encoder"]) == ("distilled", "fresh")
