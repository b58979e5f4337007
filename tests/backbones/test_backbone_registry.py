"""The registry of backbones: names, counts, suggestions, duplicates."""

import linbench
import pytest
import torch
from linbench.backbones import backbone_options
from linbench.backbones.counting import count_operations
from linbench.backbones.registry import collect_specs
from linbench.backbones.spec import BackboneSpec
from linbench.errors import UsageError
from linbench.heads.sam.neck import Neck
from torch import nn

NAMES = linbench.list_backbones()


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_parameter_count_of_the_spec(hollow, name):
    spec = linbench.backbone_spec(name)
    assert spec.params, "a spec states at least one parameter count"
    counted = {
        "backbone": lambda: hollow(name),
        "with_head": lambda: linbench.create_classifier(name),
        "with_head_1024": lambda: linbench.create_classifier(name, position_grid=64),
        "with_neck": lambda: nn.ModuleList([hollow(name), Neck(channels=hollow(name).feature_info[-1].channels)]),
    }
    for convention, expected in spec.params.items():
        with torch.device("meta"):
            assert count(counted[convention]()) == expected, convention


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [224, 1024])
def test_operations_of_the_spec(name, side):
    spec = linbench.backbone_spec(name)
    counted = count_operations(name, side)
    assert (spec.macs[side], spec.operator_flops.get(side, 0)) == counted


@pytest.mark.parametrize("name", NAMES)
def test_spec_says_what_the_module_is(hollow, name):
    spec, module = linbench.backbone_spec(name), hollow(name)
    assert (spec.name, spec.image_multiple) == (name, module.image_multiple)
    assert spec.strides == tuple(info.stride for info in module.feature_info)
    assert spec.source
    assert set(spec.kwargs) <= backbone_options(name)


def test_names_the_paper_compares():
    expected = {f"rwkvsam-{size}{suffix}" for size in "tsb" for suffix in ("", "-ade")}
    expected |= {f"rwkvsam-s-{i}-{i}" for i in (1, 2, 3)} | {f"vit-{size}" for size in "tsb"}
    assert expected <= set(NAMES)


def test_patterns():
    assert linbench.list_backbones("vit-*") == ["vit-t", "vit-s", "vit-b"]
    assert linbench.list_backbones("nothing*") == []


@pytest.mark.parametrize(
    ("name", "hint"), [("rwkvsam-small", "rwkvsam-s"), ("vit_s", "vit-s"), ("RWKVSAM-T", ""), ("", ""), ("timm:", "")]
)
def test_unknown_name_gets_a_suggestion(name, hint):
    with pytest.raises(UsageError, match="unknown backbone") as caught:
        linbench.create_backbone(name)
    assert hint in str(caught.value)
    assert "bench list backbones" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_timm_model_gets_a_suggestion():
    with pytest.raises(UsageError, match=r"timm has no model 'resnet_18'.*resnet18"):
        linbench.create_backbone("timm:resnet_18")


def test_unknown_option_is_named():
    with pytest.raises(UsageError, match="attention"):
        linbench.create_backbone("rwkvsam-t", attention="eager")


@pytest.mark.parametrize(
    ("name", "option", "words"),
    [
        ("vit-t", {"attention": "flash"}, "sdpa, eager"),
        ("samvit-b", {"attention": None}, "sdpa, eager"),
        ("vit-t", {"class_token": "last"}, "first, dropped, none"),
        ("vmamba-t", {"version": "v1"}, "v0, v2"),
        ("rwkvsam-t", {"convention": "official"}, "paper, cuda"),
        ("vrwkv-t", {"convention": "CUDA"}, "paper, cuda"),
    ],
)
def test_a_word_that_an_option_does_not_take(hollow, name, option, words):
    with pytest.raises(UsageError, match=f"cannot build '{name}' with .*; expected one of {words}"):
        hollow(name, **option)


@pytest.mark.parametrize(
    ("name", "option"), [("vit-t", "heads"), ("samvit-b", "heads"), ("vit-t", "drop_path"), ("rwkvsam-t", "drop_path")]
)
def test_a_number_that_an_option_does_not_take(hollow, name, option):
    with pytest.raises(UsageError, match=f"^{option}: expected .*, got 5"):
        hollow(name, **{option: 5})


def test_a_backend_for_a_model_without_operators():
    with pytest.raises(UsageError, match="none of LinBench's operators"):
        linbench.create_backbone("vit-t", kernels="cpu")


def test_unknown_backend_is_refused_when_it_is_called(image):
    model = linbench.create_backbone("rwkvsam-t", kernels="warp").eval()
    with torch.inference_mode(), pytest.raises(UsageError, match="warp"):
        model(image(32, 32))


def test_a_name_can_be_registered_once():
    first = BackboneSpec("twin", "one", "softmax", "one:One")
    second = BackboneSpec("twin", "two", "softmax", "two:Two")
    with pytest.raises(ValueError, match=r"twin.*one:One.*two:Two"):
        collect_specs([first, second])


@pytest.mark.parametrize("name", ["vit-t", "timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_gradient_checkpointing_keeps_less_for_backward(name, image):
    kept = []
    for checkpointing in (False, True):
        model = linbench.create_backbone(name, gradient_checkpointing=checkpointing)
        assert model.gradient_checkpointing == checkpointing
        held = 0

        def hold(tensor):
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            model(image(64, 64, batch=2))
        kept.append(held)
    assert kept[1] < 0.8 * kept[0]
