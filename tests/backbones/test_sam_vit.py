"""SAM's encoders: against the original, timm's at other sizes, both kinds of attention, the early map."""

from functools import partial

import linbench
import pytest
import torch
from linbench.backbones import sam_vit
from linbench.backbones.position import resize_relative_table
from linbench.backbones.sam_vit import SamVit
from linbench.backbones.windows import from_windows, to_windows
from linbench.heads.sam import Neck
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

SMALL = {"dim": 32, "depth": 4, "heads": 2, "global_blocks": (1, 3), "window": 3, "position_grid": 5}


def shaken(module):
    """Random values in every parameter: the tables of relative positions start at zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.mark.slow
def test_golden(golden, close, normal):
    reference = golden("sam_vit_b")
    state = reference.state_dict(r"^image_encoder\.")
    model = linbench.create_backbone("samvit-b", early=True).eval()
    neck = Neck(channels=768).eval()
    for module in (model, neck):
        linbench.load_official(module, state)
    entry, stored = reference.case("A")
    with torch.inference_mode():
        early, last = model(normal(**entry["inputs"]["image"])).maps
        got = {
            "interm_embeddings_0": early.permute(0, 2, 3, 1),
            "interm_embeddings_3": last.permute(0, 2, 3, 1),
            "image_embeddings": neck(last),
        }
    for name, value in got.items():
        close(value, stored[name], entry["outputs"][name], rtol=1e-5)


@pytest.mark.parametrize("size", "blh")
def test_official_names_shapes_and_counts(golden, hollow, size):
    model = hollow(f"samvit-{size}")
    params = golden(f"sam_vit_{size}").manifest["params"]
    wanted = {
        key.removeprefix("image_encoder.").replace("mlp.lin", "mlp.fc"): tuple(shape)
        for key, shape in params.items()
        if key.startswith("image_encoder.") and ".neck." not in key
    }
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == wanted
    counts = linbench.backbone_spec(f"samvit-{size}").params
    assert sum(p.numel() for p in model.parameters()) == counts["backbone"]
    assert counts["with_neck"] == {"b": 89_670_912, "l": 308_278_272, "h": 637_026_048}[size]


def timms(**kwargs):
    return shaken(
        VisionTransformerSAM(
            img_size=80,
            embed_dim=32,
            depth=4,
            num_heads=2,
            window_size=3,
            global_attn_indexes=(1, 3),
            use_rel_pos=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            **kwargs,
        )
    )


@pytest.mark.parametrize("shape", [(80, 80), (64, 112), (160, 48)])
@torch.inference_mode()
def test_maps_are_timms_at_any_size(image, shape):
    """timm resizes the absolute embedding with a filter, so it is the same everywhere here; tables are interpolated."""
    reference = timms()
    reference.pos_embed.copy_(reference.pos_embed.mean(dim=(1, 2), keepdim=True))
    model = SamVit(**SMALL).eval()
    linbench.load_official(model, reference.state_dict())
    reference.neck = nn.Identity()
    images = image(*shape, batch=2)
    torch.testing.assert_close(model(images).maps[-1], reference.forward_features(images), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_position_embedding_at_its_own_size_is_timms(image):
    reference = timms()
    model = SamVit(**SMALL).eval()
    linbench.load_official(model, reference.state_dict())
    reference.neck = nn.Identity()
    images = image(80, 80)
    torch.testing.assert_close(model(images).maps[-1], reference.forward_features(images), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_eager_attention_and_heads_one_by_one_equal_sdpa(image, monkeypatch):
    model = shaken(SamVit(**SMALL))
    written_out = SamVit(**SMALL, attention="eager").eval()
    written_out.load_state_dict(model.state_dict())
    images = image(64, 96, batch=2)
    once = model(images).maps[-1]
    torch.testing.assert_close(written_out(images).maps[-1], once, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(sam_vit, "BIAS_ENTRIES", {"cpu": 1})
    torch.testing.assert_close(model(images).maps[-1], once, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_early_map_is_that_after_the_first_global_block(image):
    model = shaken(SamVit(**SMALL, early=True))
    images = image(64, 80)
    early, last = model(images).maps
    assert early.shape == last.shape == (1, 32, 4, 5)
    del model.blocks[2:]
    again = model(images).maps
    assert torch.equal(again[1], early)
    assert not torch.equal(last, early)


def test_windows_come_back_and_are_filled_up_with_zeros():
    tokens = torch.randn(2, 5 * 7, 4)
    windows = to_windows(tokens, (5, 7), 3)
    assert windows.shape == (2 * 2 * 3, 9, 4)
    assert torch.equal(windows[1, :3], tokens[0, 3:6])
    assert torch.equal(windows[-1, 3], tokens[1, 4 * 7 + 6])
    assert not windows[-1, [1, 2, 4, 5, 6, 7, 8]].any()
    assert torch.equal(from_windows(windows, (5, 7), 3), tokens)


def test_relative_tables_of_another_length():
    table = torch.arange(9.0)[:, None].repeat(1, 2)
    assert resize_relative_table(table, 9) is table
    grown = resize_relative_table(table, 27)
    assert grown.shape == (27, 2)
    assert (grown.diff(dim=0) >= 0).all()
    torch.testing.assert_close(grown.mean(), table.mean())


def test_gradients_with_and_without_checkpointing(image):
    model = shaken(SamVit(**SMALL)).train()
    images, gradients = image(64, 80), []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        model(images).maps[-1].square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        assert first.abs().sum() > 0
        torch.testing.assert_close(first, second)


@torch.inference_mode()
def test_compiles_as_one_graph(image):
    model = shaken(SamVit(**SMALL, early=True))
    images = image(64, 80)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for first, second in zip(compiled(images).maps, model(images).maps, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
