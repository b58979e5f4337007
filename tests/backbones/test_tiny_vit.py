"""MobileSAM's TinyViT: against the original, timm's TinyViT blocks, names, the early map."""

import linbench
import pytest
import torch
from linbench.backbones.tiny_vit import TinyVit, TinyVitBlock
from linbench.errors import WeightsError
from linbench.heads.sam import Neck
from timm.models import tiny_vit as timms

UNUSED = ("norm_head.", "head.")
SMALL = {"dims": (8, 12, 20, 24), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 3), "windows": (2, 2, 3, 2)}


def shaken(module):
    """Random values everywhere, running statistics included."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.add_(0.2 * torch.rand(value.shape, generator=generator))
    return module.eval()


def encoder(reference):
    """The encoder's part of a golden's names and shapes, neck and what is not used left out."""
    keys = reference.manifest["params"].items()
    named = {key.removeprefix("image_encoder."): tuple(shape) for key, shape in keys if key.startswith("image_")}
    return {key: shape for key, shape in named.items() if not key.startswith(("neck.", *UNUSED))}


def test_golden(golden, close, normal):
    reference = golden("mobile_sam")
    state = reference.state_dict(r"^image_encoder\.")
    model, neck = linbench.create_backbone("tinyvit-5m", early=True).eval(), Neck(channels=320).eval()
    for module in (model, neck):
        linbench.load_official(module, state)
    entry, stored = reference.case("A")
    with torch.inference_mode():
        early, last = model(normal(**entry["inputs"]["image"])).maps
        got = {"interm_embeddings_0": early.permute(0, 2, 3, 1), "image_embeddings": neck(last)}
    for name, value in got.items():
        close(value, stored[name], entry["outputs"][name], rtol=1e-5)


def test_weights_loaded_after_eval_count(image):
    """The original gathers its biases in eval(), so that those loaded later are not seen."""
    model = linbench.create_backbone("tinyvit-5m").eval()
    images = image(64, 64)
    with torch.inference_mode():
        before = model(images).maps[0]
        state = {key: value.clone() for key, value in model.state_dict().items()}
        state["layers.2.blocks.3.attn.attention_biases"][:, 5] += 3
        linbench.load_official(model, state)
        assert not torch.allclose(before, model(images).maps[0])


@pytest.mark.parametrize("name", ["mobile_sam", "sam_hq_vit_tiny"])
def test_official_names_shapes_and_counts(golden, hollow, name):
    model = hollow("tinyvit-5m")
    own = {key: tuple(value.shape) for key, value in model.state_dict().items() if not key.endswith("_tracked")}
    assert own == encoder(golden(name))
    counts = linbench.backbone_spec("tinyvit-5m").params
    assert sum(p.numel() for p in model.parameters()) == counts["backbone"]
    with torch.device("meta"):
        neck = sum(p.numel() for p in Neck(channels=320).parameters())
    assert counts["with_neck"] == counts["backbone"] + neck


def test_unused_classifier_and_counters_are_no_fault(golden):
    state = golden("mobile_sam").state_dict(r"^image_encoder\.")
    counters = golden("mobile_sam").manifest["non_float_entries"]
    model = linbench.create_backbone("tinyvit-5m")
    linbench.load_official(model, {f"module.{key}": value for key, value in state.items()})
    linbench.load_official(model, state | {key: torch.tensor(7) for key in counters if key.startswith("image_")})
    assert model.patch_embed.seq[0].bn.num_batches_tracked == 7
    state.pop("image_encoder.layers.2.blocks.0.attn.attention_biases")
    with pytest.raises(WeightsError, match=r"1 missing: layers\.2\.blocks\.0\.attn\.attention_biases"):
        linbench.load_official(model, state)


@pytest.mark.parametrize("grid", [(4, 4), (5, 6), (3, 11)])
@torch.inference_mode()
def test_blocks_are_timms_at_any_size(grid):
    ours = shaken(TinyVitBlock(24, 3, window=4))
    reference = timms.TinyVitBlock(24, 3, window_size=4).eval()
    own = {key: value for key, value in ours.state_dict().items() if not key.endswith(".offsets")}
    renamed = {k.replace("local_conv.c.", "local_conv.conv."): v for k, v in own.items()}
    reference.load_state_dict(renamed, strict=False)
    assert {*renamed} == {key for key in reference.state_dict() if "attention_bias_idxs" not in key}
    x = torch.randn(2, 24, *grid, generator=torch.Generator().manual_seed(0))
    expected = reference(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_early_map_has_stride_16_too(image):
    model = shaken(TinyVit(**SMALL, early=True))
    early, last = model(image(48, 80)).maps
    assert (early.shape, last.shape) == ((1, 20, 3, 5), (1, 24, 3, 5))
    assert [info.stride for info in model.feature_info] == [16, 16]


def test_gradients_reach_everything(image):
    model = TinyVit(**SMALL, early=True)
    model(image(48, 80, batch=2)).maps[-1].square().mean().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@torch.inference_mode()
def test_compiles_as_one_graph(image):
    model = shaken(TinyVit(**SMALL))
    images = image(48, 80)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).maps[0], model(images).maps[0], rtol=1e-4, atol=1e-5)
