"""SAM and HQ-SAM against Hugging Face transformers' models of the same (random) weights, under their key names."""

import sys
from pathlib import Path

import linbench
import pytest
import torch
from linbench.backbones.sam_vit import SamVit
from linbench.errors import WeightsError
from linbench.heads.sam import PromptEncoder, build_hq_system, build_mask_decoder, build_sam_system, choose_masks

ROOT = Path(__file__).resolve().parents[2]
SIDE = 80
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "window_size": 3,
    "global_attn_indexes": [1, 3],
}
BOXES = torch.tensor([[3.0, 5, 60, 70], [20, 10, 50, 40]])
POINTS, LABELS = torch.tensor([[[10.0, 20], [40, 30.5]], [[70, 60], [5, 5]]]), torch.tensor([[1, 0], [1, 1]])


@pytest.fixture(scope="module")
def transformers():
    """The package; it looks for one called `kernels`, for which it must not take this repository's folder."""
    before = sys.path[:]
    sys.path[:] = [entry for entry in before if Path(entry or ".").resolve() != ROOT]
    yield pytest.importorskip("transformers")
    sys.path[:] = before


def shaken(model):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def sam(transformers):
    config = transformers.SamConfig(
        vision_config=transformers.SamVisionConfig(**VISION),
        prompt_encoder_config=transformers.SamPromptEncoderConfig(image_size=SIDE, patch_size=16),
    )
    return shaken(transformers.SamModel(config))


@pytest.fixture(scope="module")
def hq(transformers):
    config = transformers.SamHQConfig(
        vision_config=transformers.SamHQVisionConfig(**VISION),
        prompt_encoder_config=transformers.SamHQPromptEncoderConfig(image_size=SIDE, patch_size=16),
        mask_decoder_config=transformers.SamHQMaskDecoderConfig(vit_dim=32),
    )
    model = shaken(transformers.SamHQModel(config))
    model.mask_decoder.transformer.register_forward_hook(hand_image_tokens_on, with_kwargs=True)
    return model


def hand_image_tokens_on(_module, _args, kwargs, output):
    """What SamHQMaskDecoder (5.23) forgets: it upscales the image embedding from before the transformer, transposed."""
    grid = kwargs["image_embeddings"].shape[-2:]
    kwargs["image_embeddings"].copy_(output[1].squeeze(1).transpose(1, 2).unflatten(2, grid).transpose(2, 3))


def encoder(*, early=False):
    return SamVit(dim=32, depth=4, heads=2, global_blocks=(1, 3), window=3, position_grid=5, early=early)


@pytest.fixture(scope="module")
def images():
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def prompts(kind):
    """The prompts for transformers (a batch of one image in front) and for LinBench."""
    ours, theirs = {}, {}
    if "box" in kind:
        ours["boxes"], theirs["input_boxes"] = BOXES, BOXES[None]
    if "point" in kind:
        ours |= {"points": POINTS, "labels": LABELS}
        theirs |= {"input_points": POINTS[None], "input_labels": LABELS[None]}
    return ours, theirs


def close(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["box", "point", "box and point"])
@torch.inference_mode()
def test_sam(sam, images, kind, multimask):
    system = build_sam_system(encoder(), refine="none", single_mask=False).eval()
    linbench.load_official(system, sam.state_dict())
    ours, theirs = prompts(kind)
    embedding = system.encode(images)
    close(embedding.image, sam.get_image_embeddings(images))
    wanted = sam(pixel_values=images, multimask_output=multimask, **theirs)
    logits, quality = system.decode(embedding, multimask=multimask, **ours)
    close(logits, wanted.pred_masks[0])
    close(quality, wanted.iou_scores[0])


@pytest.mark.parametrize("hq_token_only", [False, True])
@pytest.mark.parametrize("multimask", [False, True])
@torch.inference_mode()
def test_hq_sam(hq, images, multimask, hq_token_only):
    system = build_hq_system(encoder(early=True), hq_token_only=hq_token_only).eval()
    linbench.load_official(system, hq.state_dict())
    ours, theirs = prompts("box")
    wanted = hq(pixel_values=images, multimask_output=multimask, hq_token_only=hq_token_only, **theirs)
    logits, quality = system.decode(system.encode(images), multimask=multimask, **ours)
    # transformers sorts the three masks by predicted quality, and gives three qualities for the HQ mask alone.
    order = quality.argsort(dim=1, descending=True)
    close(logits.gather(1, order[..., None, None].expand(-1, -1, *logits.shape[-2:])), wanted.pred_masks[0])
    close(quality.gather(1, order), wanted.iou_scores[0][:, : order.shape[1]])
    best, score = choose_masks(logits, quality, choice="best")
    close(best, wanted.pred_masks[0][:, :1])
    close(score, wanted.iou_scores[0][:, :1])


def test_parts_take_their_share(sam):
    state = sam.state_dict()
    backbone, prompt, decoder = encoder(), PromptEncoder(), build_mask_decoder()
    linbench.load_official(prompt, state)
    linbench.load_official(decoder, state)
    matrix = state["shared_image_embedding.positional_embedding"]
    assert torch.equal(prompt.pe_layer.positional_encoding_gaussian_matrix, matrix)
    assert torch.equal(
        decoder.iou_prediction_head.layers[1].weight, sam.mask_decoder.iou_prediction_head.layers[0].weight
    )
    linbench.load_official(backbone, state)
    assert torch.equal(backbone.blocks[2].attn.rel_pos_w, sam.vision_encoder.layers[2].attn.rel_pos_w)
    lost = {key: value for key, value in state.items() if key != "mask_decoder.upscale_conv2.bias"}
    with pytest.raises(WeightsError, match=r"1 missing: output_upscaling\.3\.bias"):
        linbench.load_official(build_mask_decoder(), lost)
