"""Plain ViT: against timm's DeiT, both kinds of attention, position embeddings at other sizes."""

import linbench
import pytest
import timm
import torch
from linbench.backbones.position import resize_position_embedding, square_grid
from linbench.errors import UsageError, WeightsError


def shaken(module):
    """Random values in every parameter, so that zero or unit initialisation hides nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@torch.inference_mode()
def test_logits_are_timms(image):
    reference = shaken(timm.create_model("deit_small_patch16_224", pretrained=False))
    ours = linbench.create_classifier("vit-s").eval()
    linbench.load_official(ours, reference.state_dict())
    images = image(224, 224)
    torch.testing.assert_close(ours(images), reference(images), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_patch16_224"])
@pytest.mark.parametrize("nesting", [None, "model"])
def test_checkpoint_files_of_timm_and_deit(tmp_path, image, name, nesting):
    reference = shaken(timm.create_model(name, pretrained=False))
    path, state = tmp_path / "weights.pth", reference.state_dict()
    torch.save({nesting: state} if nesting else state, path)
    ours = linbench.create_classifier("vit-t", weights=str(path)).eval()
    images = image(224, 224)
    torch.testing.assert_close(ours(images), reference(images), rtol=1e-4, atol=1e-4)
    backbone = linbench.create_backbone("vit-t", weights=str(path)).eval()
    assert torch.equal(backbone(images).pooled, ours.backbone(images).pooled)


@pytest.mark.parametrize("create", [linbench.create_backbone, linbench.create_classifier])
def test_distilled_deit_is_refused(create):
    with torch.device("meta"):
        state = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False).state_dict()
        model = create("vit-t")
    with pytest.raises(WeightsError, match=r"distilled DeiT.*dist_token.*take those") as caught:
        linbench.load_official(model, {f"module.{key}": value for key, value in state.items()})
    assert "\n" not in str(caught.value)


@torch.inference_mode()
def test_a_wide_image_is_what_timm_makes_of_a_resized_embedding(image):
    original = shaken(timm.create_model("deit_tiny_patch16_224", pretrained=False))
    ours = linbench.create_backbone("vit-t").eval()
    linbench.load_official(ours, original.state_dict())
    cls, grid = original.pos_embed[:, :1], original.pos_embed[:, 1:].mT.unflatten(2, (14, 14))
    wide = torch.nn.functional.interpolate(grid, size=(10, 18), mode="bicubic", align_corners=False)
    reference = timm.create_model("deit_tiny_patch16_224", pretrained=False, img_size=(160, 288)).eval()
    reference.load_state_dict({**original.state_dict(), "pos_embed": torch.cat([cls, wide.flatten(2).mT], dim=1)})
    images = image(160, 288)
    expected = reference.forward_intermediates(images, intermediates_only=True, norm=True)[-1]
    torch.testing.assert_close(ours(images).maps[0], expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_backbone_takes_a_classifiers_checkpoint_without_its_head():
    state = timm.create_model("deit_tiny_patch16_224", pretrained=False).state_dict()
    model = linbench.create_backbone("vit-t")
    linbench.load_official(model, {f"module.{key}": value for key, value in state.items()})
    assert torch.equal(model.blocks[3].attn.qkv.weight, state["blocks.3.attn.qkv.weight"])


@torch.inference_mode()
def test_eager_attention_equals_sdpa(image):
    fused = shaken(linbench.create_backbone("vit-t", attention="sdpa"))
    written_out = linbench.create_backbone("vit-t", attention="eager").eval()
    written_out.load_state_dict(fused.state_dict())
    images = image(96, 64)
    for first, second in zip(fused(images), written_out(images), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_position_embedding_of_another_grid_is_resized():
    state = timm.create_model("deit_tiny_patch16_224", pretrained=False, img_size=384).state_dict()
    model = linbench.create_backbone("vit-t")
    linbench.load_official(model, state)
    expected = resize_position_embedding(state["pos_embed"][:, 1:], (14, 14))
    assert torch.equal(model.pos_embed[:, 1:], expected)
    assert torch.equal(model.pos_embed[:, :1], state["pos_embed"][:, :1])


def test_position_embedding_that_is_no_grid_is_refused():
    model = linbench.create_backbone("vit-t")
    state = {**model.state_dict(), "pos_embed": torch.zeros(1, 198, 192)}
    with pytest.raises(WeightsError, match=r"1 of another shape: pos_embed \(1, 198, 192\)"):
        linbench.load_official(model, state)


def test_resizing_keeps_what_fits_and_the_mean_of_what_does_not():
    embedding = torch.randn(1, 196, 8, generator=torch.Generator().manual_seed(0))
    assert resize_position_embedding(embedding, (14, 14)) is embedding
    flat = resize_position_embedding(torch.full((1, 16, 8), 0.25), (3, 9))
    assert flat.shape == (1, 27, 8)
    torch.testing.assert_close(flat, torch.full((1, 27, 8), 0.25))
    assert resize_position_embedding(embedding.bfloat16(), (7, 20)).dtype == torch.bfloat16


def test_resizing_keeps_rows_and_columns_apart():
    rows = torch.arange(4.0).repeat_interleave(4).view(1, 16, 1)
    grown = resize_position_embedding(rows, (8, 4)).view(8, 4)
    assert (grown == grown[:, :1]).all()
    assert (grown.diff(dim=0) > 0).all()


def test_a_grid_must_be_square():
    assert square_grid(196) == (14, 14)
    with pytest.raises(UsageError, match="15"):
        square_grid(15)


@torch.inference_mode()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_compiles_whole(image, attention):
    model = linbench.create_backbone("vit-t", depth=2, attention=attention).eval()
    images = image(48, 80)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], model(images).maps[0])
