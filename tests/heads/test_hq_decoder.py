"""HQ-SAM's decoder against the original, and its place in a system."""

import linbench
import pytest
import torch
from linbench.backbones.base import Backbone, FeatureInfo, Features
from linbench.heads.sam import HqMaskDecoder, PromptEncoder, TwoWayTransformer, build_hq_system, choose_masks
from torch import nn

CASES = [("hq_decoder", "A"), ("hq_decoder", "B"), ("hq_decoder_tiny", "A")]


def build(channels, **options) -> HqMaskDecoder:
    transformer = TwoWayTransformer(depth=2, dim=256, heads=8, mlp_dim=2048)
    return HqMaskDecoder(transformer=transformer, early_channels=channels, **options).eval()


@pytest.mark.parametrize(("name", "case_id"), CASES)
@torch.inference_mode()
def test_golden(golden, close, normal, name, case_id):
    reference = golden(name)
    state = reference.state_dict()
    encoder, decoder = PromptEncoder().eval(), build(reference.manifest["config"]["vit_dim"])
    for module in (encoder, decoder):
        linbench.load_official(module, state)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    assert sum(p.numel() for p in parameters) == reference.manifest["param_count"]
    entry, stored = reference.case(case_id)
    inputs = entry["inputs"]
    boxes = torch.tensor(inputs["boxes"], dtype=torch.float32)
    sparse, dense = encoder(frame=(1024, 1024), boxes=boxes)
    arguments = {
        "image_embedding": normal(**inputs["image_embeddings"]),
        "image_pe": encoder.dense_pe((64, 64)),
        "sparse": sparse,
        "dense": dense,
        "image_index": torch.zeros(len(boxes), dtype=torch.long),
        "maps": (normal(**inputs["interm_embeddings_0"]).permute(0, 3, 1, 2),),
    }
    one, one_quality = decoder(**arguments)
    three, three_quality = decoder(**arguments, multimask=True)
    best, best_quality = choose_masks(three, three_quality, choice="best")
    decoder.hq_token_only = True
    got = {
        "masks_mm0_hqonly0": one,
        "iou_mm0_hqonly0": one_quality,
        "masks_mm0_hqonly1": decoder(**arguments)[0],
        "masks_mm1_hqonly0": best,
        "iou_mm1_hqonly0": best_quality,
    }
    torch.testing.assert_close(decoder(**arguments, multimask=True)[1], best_quality)
    for key, spec in entry["outputs"].items():
        close(got[key], stored[key], spec, rtol=1e-5)


class TwoMaps(Backbone):
    """An early and a late map of stride 16."""

    def __init__(self):
        super().__init__()
        self.feature_info = (FeatureInfo(12, 16), FeatureInfo(20, 16))
        self.convs = nn.ModuleList(nn.Conv2d(3, info.channels, 16, stride=16) for info in self.feature_info)

    def forward(self, images):
        maps = tuple(conv(images) for conv in self.convs)
        return Features(maps, maps[-1].mean(dim=(2, 3)))


BOXES = torch.tensor([[3.0, 5, 60, 90], [20, 10, 50, 40], [0, 0, 63, 95]])


def test_the_neck_reads_the_last_map_and_the_decoder_the_early_one():
    system = build_hq_system(TwoMaps()).eval()
    images = torch.randn(2, 3, 96, 64)
    early, last = system.backbone(images).maps
    embedding = system.encode(images)
    assert torch.equal(embedding.maps[0], early)
    assert torch.equal(embedding.image, system.neck(last))


@torch.inference_mode()
def test_prompts_of_two_images_equal_separate_calls():
    torch.manual_seed(0)
    system = build_hq_system(TwoMaps()).eval()
    images, index = torch.randn(2, 3, 96, 64), torch.tensor([1, 0, 1])
    both, quality = system.decode(system.encode(images), boxes=BOXES, image_index=index, multimask=True)
    assert both.shape == (3, 3, 24, 16)
    for i in range(2):
        logits, scores = system.decode(system.encode(images[i : i + 1]), boxes=BOXES[index == i], multimask=True)
        torch.testing.assert_close(both[index == i], logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(quality[index == i], scores, rtol=1e-4, atol=1e-5)


def test_the_sum_is_sams_mask_and_the_hq_mask():
    torch.manual_seed(0)
    system = build_hq_system(TwoMaps()).eval()
    embedding = system.encode(torch.randn(1, 3, 96, 64))
    with torch.inference_mode():
        three, _ = system.decode(embedding, boxes=BOXES, multimask=True)
        system.mask_decoder.hq_token_only = True
        hq, _ = system.decode(embedding, boxes=BOXES, multimask=True)
        changed = {k: v for k, v in system.mask_decoder.state_dict().items() if k.startswith("hf_mlp.")}
        for value in changed.values():
            value.zero_()
        system.mask_decoder.hq_token_only = False
        sams, _ = system.decode(embedding, boxes=BOXES, multimask=True)
    assert hq.shape == (3, 1, 24, 16)
    torch.testing.assert_close(three, sams + hq, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_new_modules():
    system = build_hq_system(TwoMaps())
    logits, _ = system.decode(system.encode(torch.randn(1, 3, 96, 64)), boxes=BOXES)
    logits.square().mean().backward()
    decoder = system.mask_decoder
    new = (decoder.hf_token, decoder.hf_mlp, decoder.compress_vit_feat, decoder.embedding_encoder)
    for module in (*new, decoder.embedding_maskfeature, system.backbone):
        for parameter in module.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0
