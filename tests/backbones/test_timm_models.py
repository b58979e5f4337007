"""timm models as backbones: what their kinds have of their own."""

import linbench
import pytest
import torch


@torch.inference_mode()
@pytest.mark.parametrize(("name", "height"), [("mambaout_femto", 192), ("swin_tiny_patch4_window7_224", 384)])
def test_maps_as_high_as_they_have_channels_are_not_taken_for_turned(image, name, height):
    backbone = linbench.create_backbone(f"timm:{name}").eval()
    images = image(height, 64)
    assert backbone.feature_info[0].channels == height // 4
    found, raw = backbone(images).maps[0], backbone.model(images)[0]
    assert found.shape == (1, height // 4, height // 4, 16)
    assert torch.equal(found, raw.permute(0, 3, 1, 2))
