"""EfficientSAM's encoders: the whole official model loads, and under its own neck they give its image embeddings."""

import linbench
import pytest
import torch
from linbench.backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from linbench.errors import WeightsError
from linbench.heads.sam import Neck

NAMES = {"efficient_sam_vitt": "efficientsam-ti", "efficient_sam_vits": "efficientsam-s"}
NECK = "image_encoder.neck."


def count(module):
    return sum(p.numel() for p in module.parameters())


@torch.inference_mode()
def embeddings(golden, normal, name, case):
    state = golden(name).state_dict("^image_encoder")
    model = linbench.create_backbone(NAMES[name]).eval()
    linbench.load_official(model, state)
    neck = Neck(channels=model.pooled_channels, embed_dim=256).eval()
    neck.load_state_dict({f"out_proj.{k[len(NECK) :]}": v for k, v in state.items() if k.startswith(NECK)})
    entry, values = golden(name).case(case)
    spec = entry["inputs"]["image"]
    images = normal(spec["seed"], spec["shape"]) * spec["scale"] + spec["offset"]
    images = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return neck(model(images).maps[0]), values["image_embeddings"], entry["outputs"]["image_embeddings"]


def test_image_embeddings(golden, close, normal):
    close(*embeddings(golden, normal, "efficient_sam_vitt", "A"), rtol=1e-5)


@pytest.mark.slow
def test_image_embeddings_of_the_larger(golden, close, normal):
    close(*embeddings(golden, normal, "efficient_sam_vits", "A"), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_counts_are_the_official_ones(golden, hollow, name):
    params = golden(name).manifest["params"]
    encoder = {key.removeprefix("image_encoder."): shape for key, shape in params.items() if key.startswith("image_")}
    model = hollow(NAMES[name])
    own = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert own == {key: shape for key, shape in encoder.items() if not key.startswith("neck.")}
    with_neck = linbench.backbone_spec(NAMES[name]).params["with_neck"]
    with torch.device("meta"):
        assert count(model) + count(Neck(channels=model.pooled_channels, embed_dim=256)) == with_neck


@pytest.mark.parametrize("wrap", ["", "module.", "model."])
def test_the_whole_model_loads(golden, wrap):
    state = golden("efficient_sam_vitt").state_dict()
    model = linbench.create_backbone("efficientsam-ti")
    linbench.load_official(model, {wrap + key: value for key, value in state.items()})
    assert torch.equal(model.pos_embed, state["image_encoder.pos_embed"])
    assert torch.equal(model.blocks[11].mlp.fc2.bias, state["image_encoder.blocks.11.mlp.fc2.bias"])


def test_a_classifier_is_no_encoder(hollow):
    model = hollow("efficientsam-ti")
    state = hollow("vit-t").state_dict()
    with pytest.raises(WeightsError, match=r"3 unexpected: cls_token, norm.weight, norm.bias"):
        linbench.load_official(model, state)


@torch.inference_mode()
def test_written_out_attention_and_non_square_images(image):
    fused = linbench.create_backbone("efficientsam-ti", depth=3).eval()
    written_out = linbench.create_backbone("efficientsam-ti", depth=3, attention="eager").eval()
    written_out.load_state_dict(fused.state_dict())
    images = image(64, 112)
    first, second = fused(images), written_out(images)
    assert first.maps[0].shape == (1, 192, 4, 7)
    torch.testing.assert_close(first.maps[0], second.maps[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.pooled, first.maps[0].mean(dim=(2, 3)))
    compiled = torch.compile(fused, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], first.maps[0])
