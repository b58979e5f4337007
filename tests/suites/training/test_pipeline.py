from dataclasses import replace

import pytest
import torch
from linbench.errors import LinBenchError
from linbench.heads.sam import create_system
from linbench.suites.training.pipeline import copy_decoder, train_system
from linbench.suites.training.precision import resolve_precision
from linbench.suites.training.recipes import DEMO, MaskLoss
from linbench.suites.training.steps import DistillStep, JointStep

FRAME = 64


def fixed_batch():
    masks = torch.zeros(3, FRAME, FRAME, dtype=torch.uint8)
    masks[0, 8:40, 8:30] = 1
    masks[1, 20:60, 30:50] = 1
    masks[2, 10:50, 10:50] = 1
    boxes = torch.tensor([[8.0, 8, 29, 39], [30, 20, 49, 59], [10, 10, 49, 49]])
    images = torch.randn(2, 3, FRAME, FRAME, generator=torch.Generator().manual_seed(0))
    return {"images": images, "masks": masks, "boxes": boxes, "image_index": torch.tensor([0, 0, 1])}


def batches(step, rank, world):
    while True:
        yield fixed_batch()


def recipe(**changes):
    stage = replace(DEMO.joint, max_minutes=None, warmup_steps=1, images=2, lr=1e-3)
    steps = {"distill": changes.pop("distill", 0), "joint": changes.pop("joint", 0)}
    return replace(
        DEMO,
        frame=FRAME,
        precision="fp32",
        loss=MaskLoss(points=128),
        distill=replace(stage, steps=steps["distill"]),
        joint=replace(stage, steps=steps["joint"]),
        **changes,
    )


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return create_system("rwkvsam-t", layer_scale=0.3)


def run(student, tmp_path, teacher=None, **changes):
    return train_system(
        student,
        recipe(**changes),
        teacher=teacher,
        distill_batches=batches,
        joint_batches=batches,
        folder=tmp_path,
        seed=0,
        quiet=True,
    )


def test_joint_training_lowers_its_loss(tmp_path):
    torch.manual_seed(1)
    student = create_system("rwkvsam-t", layer_scale=0.3)
    curve = run(student, tmp_path, joint=30).curves["joint"]
    totals = [point["bce"] + point["dice"] for point in curve.points]
    assert curve.steps == 30
    assert sum(totals[-3:]) < 0.95 * sum(totals[:3])


def test_distillation_brings_the_student_nearer_and_leaves_the_copied_decoder_alone(tmp_path, teacher):
    torch.manual_seed(2)
    student = create_system("vit-t+sam")
    curves = run(student, tmp_path, teacher, distill=8).curves
    assert set(curves) == {"distill"}
    assert curves["distill"].points[-1]["embedding"] < curves["distill"].points[0]["embedding"]
    for name, value in student.prompt_encoder.state_dict().items():
        assert torch.equal(value, teacher.prompt_encoder.state_dict()[name]), name
    own = teacher.mask_decoder.state_dict()
    shared = [name for name in student.mask_decoder.state_dict() if name in own]
    assert len(shared) > 90
    for name in shared:
        assert torch.equal(student.mask_decoder.state_dict()[name], own[name]), name


def test_fine_maps_are_distilled_where_both_refine(teacher):
    student = create_system("rwkvsam-t")
    losses = DistillStep(student, teacher)(fixed_batch())
    assert set(losses) == {"embedding", "fine"}
    student.load_state_dict(teacher.state_dict())
    assert all(loss.item() < 1e-8 for loss in DistillStep(student.eval(), teacher)(fixed_batch()).values())


def test_projections_of_other_widths_are_not_copied(teacher):
    student = create_system("rwkvsam-s")
    before = student.mask_decoder.refine.hr_feat_proj[0].weight.clone()
    copy_decoder(teacher, student)
    assert torch.equal(student.mask_decoder.refine.hr_feat_proj[0].weight, before)
    mix = "mix_feat_proj.0.weight"
    assert torch.equal(student.mask_decoder.refine.state_dict()[mix], teacher.mask_decoder.refine.state_dict()[mix])


def test_prompts_of_one_image_share_a_backbone_pass(teacher):
    calls = []
    handle = teacher.backbone.register_forward_hook(lambda module, args, out: calls.append(args[0].shape))
    JointStep(teacher, MaskLoss(points=64))(fixed_batch())
    handle.remove()
    assert calls == [(2, 3, FRAME, FRAME)]


def test_a_frozen_prompt_encoder_does_not_move(tmp_path):
    torch.manual_seed(3)
    student = create_system("rwkvsam-t", layer_scale=0.3)
    before = {name: value.clone() for name, value in student.prompt_encoder.state_dict().items()}
    run(student, tmp_path, joint=2, train_prompt_encoder=False)
    assert all(torch.equal(before[name], value) for name, value in student.prompt_encoder.state_dict().items())


def test_a_loss_that_is_not_finite_stops_the_training_and_says_where(tmp_path):
    student = create_system("rwkvsam-t")
    with torch.no_grad():
        student.backbone.final_norm.weight.fill_(float("nan"))
    with pytest.raises(LinBenchError, match="not finite at step 0"):
        run(student, tmp_path, joint=3)


def test_a_time_limit_ends_the_stage_at_the_end_of_its_schedule(tmp_path):
    torch.manual_seed(4)
    student = create_system("rwkvsam-t")
    limited = replace(recipe(joint=100_000).joint, max_minutes=1 / 60)
    changed = replace(recipe(), joint=limited)
    trained = train_system(
        student,
        changed,
        teacher=None,
        distill_batches=batches,
        joint_batches=batches,
        folder=tmp_path,
        seed=0,
        quiet=True,
    )
    curve = trained.curves["joint"]
    assert 0 < curve.steps < 100_000
    assert curve.seconds >= 1


def test_a_forced_precision_is_kept():
    assert resolve_precision("fp32", torch.device("cpu")) == "fp32"
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert resolve_precision("auto", torch.device("cpu")) in {"bf16", "fp32"}
