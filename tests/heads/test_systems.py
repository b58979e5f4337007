"""Systems by name: official checkpoints fit as a whole, counts, preprocessing, options."""

import linbench
import numpy as np
import pytest
import torch
from linbench.errors import UsageError, WeightsError
from linbench.heads.sam import HqMaskDecoder, System, create_system, system_spec
from linbench.heads.sam.systems import OFFICIAL

GOLDENS = {
    "sam_vit_b": "sam-vit-b",
    "sam_vit_l": "sam-vit-l",
    "sam_vit_h": "sam-vit-h",
    "sam_hq_vit_b": "hq-sam-b",
    "sam_hq_vit_l": "hq-sam-l",
    "sam_hq_vit_h": "hq-sam-h",
    "sam_hq_vit_tiny": "light-hq-sam",
    "mobile_sam": "mobilesam",
    "efficient_sam_vitt": "efficientsam-ti",
    "efficient_sam_vits": "efficientsam-s",
    "rwkvsam_e2e_small": "rwkvsam-s",
}
UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")


def hollow(name, **options) -> System:
    with torch.device("meta"):
        return create_system(name, **options)


def hollow_state(golden, name):
    manifest = golden(name).manifest
    shapes = {**manifest["params"], **{key: e["shape"] for key, e in manifest.get("non_float_entries", {}).items()}}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize("name", GOLDENS)
def test_official_checkpoint_fits_as_a_whole(golden, name):
    state = hollow_state(golden, name)
    system = hollow(GOLDENS[name])
    linbench.load_official(system, {f"module.{key}": value for key, value in state.items()})
    used = [key for key in state if not key.startswith(UNUSED)]
    assert len(system.state_dict()) == len(used)
    assert sum(value.numel() for value in system.state_dict().values()) == sum(state[key].numel() for key in used)
    lost = used[len(used) // 2]
    with pytest.raises(WeightsError, match="1 missing"):
        linbench.load_official(system, {key: value for key, value in state.items() if key != lost})
    with pytest.raises(WeightsError, match=r"1 unexpected: mask_decoder\.extra"):
        linbench.load_official(system, state | {"mask_decoder.extra": torch.zeros(1)})


@pytest.mark.parametrize("name", OFFICIAL)
def test_parameter_counts(name):
    assert sum(p.numel() for p in hollow(name).parameters()) == system_spec(name).params


def test_checkpoint_of_another_size():
    state = {key: torch.empty_like(value) for key, value in hollow("sam-vit-l").state_dict().items()}
    with pytest.raises(WeightsError, match="of another shape"):
        linbench.load_official(hollow("sam-vit-b"), state)


def test_efficientsam_file_with_its_wrapper(golden, tmp_path):
    reference = golden("efficient_sam_vitt")
    state = reference.state_dict()
    torch.save({"model": state}, tmp_path / "efficient_sam_vitt.pt")
    system = create_system("efficientsam-ti", weights=str(tmp_path / "efficient_sam_vitt.pt"))
    own = system.mask_decoder.state_dict()
    for key, official in {
        "output_upscaling.3.weight": "final_output_upscaling_layers.1.0.weight",
        "output_hypernetworks_mlps.2.layers.1.bias": "output_hypernetworks_mlps.2.layers.1.0.bias",
        "output_hypernetworks_mlps.2.layers.2.weight": "output_hypernetworks_mlps.2.fc.weight",
        "iou_prediction_head.layers.2.bias": "iou_prediction_head.fc.bias",
        "transformer.layers.1.mlp.lin1.weight": "transformer.layers.1.mlp.layers.0.0.weight",
        "transformer.layers.1.mlp.lin2.bias": "transformer.layers.1.mlp.fc.bias",
    }.items():
        assert torch.equal(own[key], state[f"mask_decoder.{official}"]), key


def test_descriptions():
    for name in linbench.list_systems():
        spec = system_spec(name)
        assert spec.backbone in linbench.list_backbones()
        assert spec.head in {"sam", "hq", "efficientsam", "common"}
    assert system_spec("timm:resnet18+sam").head == "common"
    assert system_spec("efficientsam-ti").head == "efficientsam"
    assert system_spec("efficientsam-ti+sam").head == "common"
    assert {"samvit-b+sam", "tinyvit-5m+sam", "sam-lightening-style", "sam-lightening-style+sam"} <= set(
        linbench.list_systems()
    )


def test_options_of_heads_and_of_backbones():
    assert hollow("hq-sam-b", hq_token_only=True).mask_decoder.hq_token_only
    assert isinstance(hollow("light-hq-sam").mask_decoder, HqMaskDecoder)
    assert not hollow("sam-vit-b").mask_decoder.single_mask
    assert hollow("sam-vit-b", attention="eager").backbone.blocks[0].attn.attention == "eager"
    assert hollow("efficientsam-ti+sam").mask_decoder.single_mask
    with pytest.raises(UsageError, match="early"):
        hollow("hq-sam-b", early=False)
    with pytest.raises(UsageError, match="refine"):
        hollow("sam-vit-b", refine="conv")
    with pytest.raises(UsageError, match="hq_token_only"):
        hollow("vit-t+sam", hq_token_only=True)
    with pytest.raises(UsageError, match=r"Did you mean .*hq-sam-l"):
        create_system("hq-sam-xl")
    with pytest.raises(UsageError, match=r"its system is 'samvit-b\+sam'"):
        create_system("samvit-b")


def test_preprocessing_travels_with_the_system():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    padded, framing = hollow("mobilesam").preprocessing.frame(image, size=64)
    assert framing.resized == (43, 64)
    assert not padded[:, 43:].any()
    stretched, framing = hollow("efficientsam-ti").preprocessing.frame(image, size=64)
    assert framing.resized == (64, 64)
    assert stretched[:, 43:].any()
    torch.testing.assert_close(framing.to_frame(torch.tensor([60.0, 20.0])), torch.tensor([64.0, 32.0]))
    assert framing.to_original(torch.zeros(2, 3, 16, 16)).shape == (2, 3, 40, 60)
    with pytest.raises(UsageError, match="expected RGB uint8"):
        system_spec("efficientsam-s").preprocessing.frame(image[..., 0])
