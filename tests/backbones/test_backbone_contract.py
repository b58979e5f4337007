"""What every registered backbone must do; a new one is tested as soon as it is registered."""

import copy

import linbench
import pytest
import torch
from linbench.errors import UsageError

HEIGHT, WIDTH = 64, 96
TIMM = ("timm:resnet18", "timm:vit_tiny_patch16_224")
NAMES = (*linbench.list_backbones(), *TIMM)
# What holds for a family's smaller sizes is not tried again on its giants.
LIGHT = [name for name in NAMES if linbench.backbone_spec(name).params.get("backbone", 0) < 60e6]


@pytest.fixture(scope="module", params=LIGHT)
def backbone(request):
    torch.manual_seed(0)
    return linbench.create_backbone(request.param).eval()


@torch.inference_mode()
def test_maps_are_what_feature_info_says(backbone, image):
    features = backbone(image(HEIGHT, WIDTH, batch=2))
    assert len(features.maps) == len(backbone.feature_info)
    for found, info in zip(features.maps, backbone.feature_info, strict=True):
        assert found.shape == (2, info.channels, HEIGHT // info.stride, WIDTH // info.stride)
        assert found.isfinite().all()
        assert found.std() > 0
    assert features.pooled.shape == (2, backbone.pooled_channels)
    strides = [info.stride for info in backbone.feature_info]
    assert strides == sorted(strides)
    # Some pyramids serve any multiple of their stem's stride and round their maps up.
    assert backbone.image_multiple % strides[-1] == 0 or strides[-1] % backbone.image_multiple == 0


@torch.inference_mode()
def test_evaluation_is_deterministic_and_independent_of_the_batch(backbone, image):
    images = image(HEIGHT, WIDTH, batch=2)
    once, again, alone = backbone(images), backbone(images), backbone(images[1:])
    for first, second, single in zip(
        (*once.maps, once.pooled), (*again.maps, again.pooled), (*alone.maps, alone.pooled), strict=True
    ):
        assert torch.equal(first, second)
        torch.testing.assert_close(first[1:], single, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_its_own_weights_come_back(backbone, image):
    images = image(HEIGHT, WIDTH)
    before = backbone(images)
    saved = {f"module.backbone.{key}": value.clone() for key, value in backbone.state_dict().items()}
    for parameter in backbone.parameters():
        parameter.zero_()
    linbench.load_official(backbone, saved)
    after = backbone(images)
    for first, second in zip((*before.maps, before.pooled), (*after.maps, after.pooled), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 3, 32, 42), torch.float32),
        ((1, 3, 0, 32), torch.float32),
        ((1, 1, 32, 32), torch.float32),
        ((3, 32, 32), torch.float32),
        ((0, 3, 32, 32), torch.float32),
        ((1, 3, 32, 32), torch.uint8),
    ],
)
def test_images_that_cannot_be_served(backbone, shape, dtype):
    with pytest.raises(UsageError, match=r"images (are|have shape)") as caught:
        backbone(torch.zeros(shape, dtype=dtype))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward_at_two_sizes(name, image):
    torch.manual_seed(0)
    model = linbench.create_backbone(name)
    for height, width in ((64, 96), (128, 64)):
        model.zero_grad()
        features = model(image(height, width, batch=2))
        for found, info in zip(features.maps, model.feature_info, strict=True):
            assert found.shape[1:] == (info.channels, height // info.stride, width // info.stride)
        sum(found.square().mean() for found in (*features.maps, features.pooled)).backward()
        assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", LIGHT)
def test_gradient_checkpointing_changes_nothing_but_memory(name, image):
    torch.manual_seed(0)
    model = linbench.create_backbone(name).eval()
    images = image(HEIGHT, WIDTH)
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        model.set_gradient_checkpointing(checkpointing)
        model(images).pooled.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["efficientvmamba-t", "tinyvit-5m"])
def test_gradient_checkpointing_counts_a_batch_once(name, image):
    torch.manual_seed(0)
    model = linbench.create_backbone(name, depths=(1, 1, 1, 1))
    twin = copy.deepcopy(model)
    twin.gradient_checkpointing = True
    for trained in (model, twin):
        trained(image(64, 64, batch=2)).pooled.square().sum().backward()
    buffers = dict(model.named_buffers())
    assert any(key.endswith("num_batches_tracked") for key in buffers)
    for key, value in twin.named_buffers():
        assert torch.equal(value, buffers[key]), key
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["rwkvsam-t", "vit-t", "timm:resnet18"])
def test_classifier(name, image):
    model = linbench.create_classifier(name, num_classes=10).eval()
    with torch.inference_mode():
        assert model(image(HEIGHT, WIDTH, batch=2)).shape == (2, 10)
