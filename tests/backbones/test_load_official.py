"""`linbench.load_official`: wrappers around names, heads left out, and what it says of weights that do not fit."""

import linbench
import pytest
import timm
import torch
from linbench.errors import WeightsError
from safetensors.torch import save_file


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return linbench.create_backbone("rwkvsam-t")


@pytest.fixture
def state(tiny):
    generator = torch.Generator().manual_seed(1)
    return {key: torch.randn(value.shape, generator=generator) for key, value in tiny.state_dict().items()}


def assert_loaded(module, state):
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "module.", "module.module.", "model.", "backbone.", "backbone_student.", "image_encoder.", "encoder."),
        *("module.backbone.", "model.image_encoder.module.", "_orig_mod.module.model.backbone.", "backbone.backbone."),
    ],
)
def test_wrappers_are_taken_off(tiny, state, prefix):
    linbench.load_official(tiny, {prefix + key: value for key, value in state.items()})
    assert_loaded(tiny, state)


@pytest.mark.parametrize("nesting", ["state_dict", "model", "module", "model_ema", "ema_state_dict", "ema"])
def test_a_whole_checkpoint_is_taken_for_its_state_dict(tiny, state, nesting):
    checkpoint = {"epoch": 7, "optimizer": {"state": {}, "lr": 0.1}, "args": None}
    linbench.load_official(tiny, {**checkpoint, nesting: {f"module.{key}": value for key, value in state.items()}})
    assert_loaded(tiny, state)
    linbench.load_official(tiny, {**checkpoint, **state})
    with pytest.raises(
        WeightsError, match="no tensors by name; expected a state dict, bare or under state_dict, model"
    ):
        linbench.load_official(tiny, {**checkpoint, nesting: {}})


HEADS = ["head.", "head.fc.", "head.layers.head.", "fc.", "classifier.", "classifier.head."]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_backbone_leaves_the_classifier_head_out(tiny, state, head, prefix):
    checkpoint = {prefix + key: value for key, value in state.items()}
    checkpoint |= {head + "weight": torch.zeros(1000, 192), head + "bias": torch.zeros(1000)}
    linbench.load_official(tiny, checkpoint)
    assert_loaded(tiny, state)


def test_a_backbone_takes_its_part_of_a_distillation_checkpoint(tiny, state):
    checkpoint = {f"backbone_student.{key}": value for key, value in state.items()}
    checkpoint["neck_student.out_proj.0.weight"] = torch.zeros(256, 192, 1, 1)
    linbench.load_official(tiny, checkpoint)
    assert_loaded(tiny, state)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_classifier_takes_the_head_too(state, head, prefix):
    classifier = linbench.create_classifier("rwkvsam-t", num_classes=5)
    weight, bias = torch.randn(5, 192), torch.randn(5)
    checkpoint = {prefix + key: value for key, value in state.items()}
    linbench.load_official(classifier, {**checkpoint, head + "weight": weight, head + "bias": bias})
    assert_loaded(classifier.backbone, state)
    assert torch.equal(classifier.head.weight, weight)
    assert torch.equal(classifier.head.bias, bias)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone.", "model.", "encoder.module."])
def test_a_classifier_whose_names_all_carry_a_prefix(state, head, prefix):
    classifier = linbench.create_classifier("rwkvsam-t", num_classes=5)
    weight, bias = torch.randn(5, 192), torch.randn(5)
    checkpoint = {**state, head + "weight": weight, head + "bias": bias}
    linbench.load_official(classifier, {prefix + key: value for key, value in checkpoint.items()})
    assert_loaded(classifier.backbone, state)
    assert torch.equal(classifier.head.weight, weight)
    assert torch.equal(classifier.head.bias, bias)


def test_a_classifier_of_other_classes_is_refused(state):
    classifier = linbench.create_classifier("rwkvsam-t", num_classes=5)
    checkpoint = {**state, "head.weight": torch.zeros(7, 192), "head.bias": torch.zeros(7)}
    with pytest.raises(WeightsError, match=r"2 of another shape: head.weight \(7, 192\) != \(5, 192\)"):
        linbench.load_official(classifier, checkpoint)


def test_missing_unexpected_and_misshaped_tensors_are_named(tiny, state):
    del state["stem.conv1.bias"]
    state["stem.conv2.weight"] = state["stem.conv2.weight"][:, :16]
    state["layers.0.attn.gate"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        linbench.load_official(tiny, state)
    text = str(caught.value)
    assert "1 missing: stem.conv1.bias" in text
    assert "1 unexpected: layers.0.attn.gate" in text
    assert "1 of another shape: stem.conv2.weight (32, 16, 3, 3) != (32, 32, 3, 3)" in text
    assert "\n" not in text


def lose(state):
    del state[list(state)[-1]]


def add(state):
    state["zzz.weight"] = torch.zeros(3)


def reshape(state):
    key = list(state)[-1]
    state[key] = torch.zeros(*state[key].shape, 2)


def poison(state):
    state[list(state)[-1]].view(-1)[-1] = torch.nan


def overflow(state):
    state[list(state)[-1]].view(-1)[0] = -torch.inf


def count(state):
    key = list(state)[-1]
    state[key] = state[key].to(torch.int64)


@pytest.mark.parametrize("spoil", [lose, add, reshape, poison, overflow, count])
@pytest.mark.parametrize("as_classifier", [False, True])
def test_refused_weights_change_nothing(tiny, state, spoil, as_classifier):
    module = linbench.create_classifier("rwkvsam-t", num_classes=5) if as_classifier else tiny
    if as_classifier:
        state |= {"head.weight": torch.randn(5, 192), "head.bias": torch.randn(5)}
    before = {key: value.clone() for key, value in module.state_dict().items()}
    spoil(state)
    with pytest.raises(WeightsError) as caught:
        linbench.load_official(module, state)
    assert "\n" not in str(caught.value)
    assert_loaded(module, before)


def test_values_that_are_not_finite_are_counted_and_the_first_tensor_named(tiny, state):
    state["stem.conv1.weight"][0, 0, 0, :2] = torch.nan
    state["stem.conv2.bias"][3] = torch.inf
    size = state["stem.conv1.weight"].numel()
    with pytest.raises(WeightsError, match=rf"2 of {size} in stem\.conv1\.weight, and more in 1 other") as caught:
        linbench.load_official(tiny, state)
    assert "nothing was loaded" in str(caught.value)


def test_counters_and_derived_buffers_may_be_there_or_not():
    module = linbench.create_backbone("timm:resnet18")
    state = {
        key: torch.randn_like(value) if value.is_floating_point() else value
        for key, value in module.state_dict().items()
    }
    extra = {"n_averaged": torch.tensor(7), "total_ops": torch.zeros(1), "model.total_params": torch.zeros(1)}
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    assert counters
    for lost in ([], counters):
        linbench.load_official(module, {**{k: v for k, v in state.items() if k not in lost}, **extra})
        assert_loaded(module, state)


def test_the_backbone_that_the_weights_do_fit_is_named(hollow):
    for name, prefix in (("vit-s", ""), ("vrwkv-t", "module.backbone."), ("rwkvsam-t", "module.")):
        state = {prefix + key: torch.zeros(1).expand(value.shape) for key, value in hollow(name).state_dict().items()}
        with pytest.raises(WeightsError, match=f"not of this Vit but of the backbone '{name}'") as caught:
            linbench.load_official(linbench.create_backbone("vit-t"), state)
        assert "\n" not in str(caught.value)


def test_a_converter_that_meets_strange_tensors_is_one_clear_line(monkeypatch, tiny):
    def convert(state):
        return {"stem.conv1.weight": state["somewhere.else"].reshape(7, 7)}

    monkeypatch.setattr(type(tiny), "convert_official", staticmethod(convert), raising=False)
    for state in ({"a": torch.zeros(3)}, {"somewhere.else": torch.zeros(3)}):
        with pytest.raises(WeightsError, match="not of this RwkvSam: their names or shapes cannot be converted"):
            linbench.load_official(tiny, state)


def test_not_strict_takes_what_fits_but_never_another_shape(tiny, state):
    half = {key: value for key, value in state.items() if key.startswith("stem.")}
    linbench.load_official(tiny, {**half, "layers.0.attn.gate": torch.zeros(3)}, strict=False)
    assert torch.equal(tiny.stem.conv1.weight, state["stem.conv1.weight"])
    with pytest.raises(WeightsError, match="another shape"):
        linbench.load_official(tiny, {**half, "stem.conv1.bias": torch.zeros(3)}, strict=False)
    with pytest.raises(WeightsError, match="none of the 1 tensors"):
        linbench.load_official(tiny, {"nothing.of.this": torch.zeros(3)}, strict=False)


def test_weights_of_another_size_are_refused_in_one_short_line(hollow):
    model = linbench.create_backbone("rwkvsam-t")
    other = {key: torch.zeros(1).expand(value.shape) for key, value in hollow("rwkvsam-s").state_dict().items()}
    with pytest.raises(WeightsError, match="check the model's name and size") as caught:
        linbench.load_official(model, other)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_half_precision_weights_fill_a_float_model(tmp_path, tiny, state):
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in state.items()}, path)
    loaded = linbench.create_backbone("rwkvsam-t", weights=str(path))
    assert loaded.stem.conv1.weight.dtype == torch.float32
    assert_loaded(loaded, {key: value.half().float() for key, value in state.items()})


@torch.inference_mode()
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_timm_checkpoints_fit_timm_backbones(image, name):
    torch.manual_seed(0)
    reference = timm.create_model(name, pretrained=False).eval()
    model = linbench.create_backbone(f"timm:{name}").eval()
    linbench.load_official(model, reference.state_dict())
    images = image(224, 224)
    expected = reference.forward_intermediates(images, intermediates_only=True)[-1]
    torch.testing.assert_close(model(images).maps[-1], expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_timm_checkpoint_fits_a_timm_classifier():
    reference = timm.create_model("resnet18", pretrained=False)
    classifier = linbench.create_classifier("timm:resnet18")
    linbench.load_official(classifier, reference.state_dict())
    assert torch.equal(classifier.head.weight, reference.fc.weight)
    own = dict(classifier.backbone.named_parameters())
    assert torch.equal(
        next(v for k, v in own.items() if k.endswith("layer1.0.conv1.weight")), reference.layer1[0].conv1.weight
    )


def test_the_error_of_a_file_names_it_and_stays_short(tmp_path):
    path = tmp_path / "small.pth"
    torch.save(linbench.create_backbone("vit-t").state_dict(), path)
    with pytest.raises(WeightsError, match="of the backbone 'vit-t'") as caught:
        linbench.create_backbone("rwkvsam-t", weights=str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 700 + len(str(path))


def test_a_system_says_when_only_its_backbone_is_in_the_file(tmp_path):
    path = tmp_path / "backbone.pth"
    torch.save(linbench.create_backbone("vit-t").state_dict(), path)
    with pytest.raises(WeightsError, match="not of this System, though they fit its backbone"):
        linbench.create_system("vit-t+sam", weights=str(path))
