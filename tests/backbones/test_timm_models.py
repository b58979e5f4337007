"""timm models as backbones: what their kinds have of their own."""

import linbench
import pytest
import torch
from linbench.errors import UsageError


@torch.inference_mode()
@pytest.mark.parametrize(("name", "height"), [("mambaout_femto", 192), ("swin_tiny_patch4_window7_224", 384)])
def test_maps_as_high_as_they_have_channels_are_not_taken_for_turned(image, name, height):
    backbone = linbench.create_backbone(f"timm:{name}").eval()
    images = image(height, 64)
    assert backbone.feature_info[0].channels == height // 4
    found, raw = backbone(images).maps[0], backbone.model(images)[0]
    assert found.shape == (1, height // 4, height // 4, 16)
    assert torch.equal(found, raw.permute(0, 3, 1, 2))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["levit_128s", "beit_base_patch16_224", "botnet26t_256"])
def test_a_model_of_one_size_says_so(hollow, name):
    backbone = hollow(f"timm:{name}").eval()
    with pytest.raises(
        UsageError, match=rf"timm's {name} cannot serve images of 64x96 .*img_size=\(64, 96\)"
    ) as caught:
        backbone(torch.zeros(1, 3, 64, 96, device="meta"))
    assert "\n" not in str(caught.value)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "side", "coarsest"), [("levit_128s", 224, 4), ("shvit_s1", 224, 4)])
def test_a_model_whose_own_size_is_no_multiple_of_its_coarsest_stride(hollow, name, side, coarsest):
    maps = hollow(f"timm:{name}").eval()(torch.zeros(1, 3, side, side, device="meta")).maps
    assert maps[-1].shape[2:] == (coarsest, coarsest)


def test_other_errors_of_a_model_stay_what_they_are(image, monkeypatch):
    backbone = linbench.create_backbone("timm:resnet18")

    def full(images):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(backbone.model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        backbone(image(32, 32))


def test_compiles_whole(image):
    backbone = linbench.create_backbone("timm:resnet18").eval()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image(32, 64)).maps[-1], backbone(image(32, 64)).maps[-1])
