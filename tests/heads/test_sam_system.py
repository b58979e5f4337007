"""Systems: sizes, batching, gradients, precision, key names and what a user may get wrong."""

import linbench
import pytest
import torch
import torch.nn.functional as F
from linbench.backbones.base import Backbone, FeatureInfo, Features
from linbench.errors import UsageError, WeightsError
from linbench.heads.sam import (
    ConvRefine,
    Neck,
    PromptEncoder,
    TwoScaleNeck,
    build_mask_decoder,
    build_sam_system,
    create_system,
    list_systems,
)
from safetensors.torch import save_file
from torch import nn

SMALL = (FeatureInfo(64, 4), FeatureInfo(128, 8), FeatureInfo(384, 16))
BOXES = torch.tensor([[3.0, 5, 60, 90], [20, 10, 50, 40], [0, 0, 63, 95], [30, 60, 44, 70.5]])


class Patches(Backbone):
    """A backbone of one convolution a map."""

    def __init__(self, info=SMALL):
        super().__init__()
        self.feature_info = info
        self.convs = nn.ModuleList(nn.Conv2d(3, c, kernel_size=s, stride=s) for c, s in info)

    def forward(self, images):
        maps = tuple(conv(images) for conv in self.convs)
        return Features(maps, maps[-1].mean(dim=(2, 3)))


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return build_sam_system(Patches()).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))


def test_parameter_counts():
    assert count(PromptEncoder()) == 6_220
    assert count(build_mask_decoder()) == 4_058_340
    assert count(build_mask_decoder(single_mask=True)) == 3_638_916
    for channels, refine, neck in ((32, 146_080, 640_000), (64, 180_896, 689_152), (128, 250_528, 787_456)):
        assert count(ConvRefine(fine_channels=channels, middle_channels=2 * channels)) == refine
        assert count(Neck(channels={32: 192, 64: 384, 128: 768}[channels])) == neck
    whole = build_sam_system(Patches())
    assert count(whole.mask_decoder) == 3_819_812


@pytest.mark.parametrize("outputs", [1, 3])
def test_refine_equals_repeating_concatenating_and_convolving(outputs):
    torch.manual_seed(0)
    refine = ConvRefine(fine_channels=6, middle_channels=10).double()
    maps = (torch.randn(2, 6, 12, 20).double(), torch.randn(2, 10, 6, 10).double())
    feature, weights = torch.randn(5, 32, 12, 20).double(), torch.randn(5, outputs, 32).double()
    index = torch.tensor([1, 0, 0, 1, 1])
    got = refine(weights, feature, maps=maps, image_index=index)
    joined = torch.cat([feature, refine.mr_feat_proj(maps[1][index]), refine.hr_feat_proj(maps[0][index])], dim=1)
    wanted = torch.einsum("nmc,nchw->nmhw", weights, refine.mix_feat_proj(joined) + feature)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("refine", ["conv", "none"])
def test_prompts_of_two_images_equal_separate_calls(images, refine):
    torch.manual_seed(0)
    system = build_sam_system(Patches(), refine=refine).eval()
    index = torch.tensor([1, 0, 1, 1])
    with torch.inference_mode():
        both, quality = system.decode(system.encode(images), boxes=BOXES, image_index=index)
        for i in range(2):
            alone = system.encode(images[i : i + 1])
            logits, scores = system.decode(alone, boxes=BOXES[index == i])
            torch.testing.assert_close(both[index == i], logits, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(quality[index == i], scores, rtol=1e-4, atol=1e-5)
            one_by_one = [system.decode(alone, boxes=box[None])[0] for box in BOXES[index == i]]
            torch.testing.assert_close(torch.cat(one_by_one), logits, rtol=1e-4, atol=1e-5)


def test_shared_image_tokens_equal_repeated_ones(system, images):
    """A dense embedding spelled out for every prompt takes the path on which nothing is shared."""
    embedding = system.encode(images)
    sparse, dense = system.prompt_encoder(frame=embedding.frame, boxes=BOXES)
    arguments = {
        "image_embedding": embedding.image,
        "image_pe": system.prompt_encoder.dense_pe((6, 4)),
        "sparse": sparse,
        "image_index": torch.tensor([0, 1, 1, 0]),
        "maps": embedding.maps,
    }
    shared, _ = system.mask_decoder(dense=dense, **arguments)
    repeated, _ = system.mask_decoder(dense=dense.expand(4, -1, 6, 4), **arguments)
    torch.testing.assert_close(shared, repeated, rtol=1e-4, atol=1e-5)


def test_every_kind_of_prompt(images):
    system = build_sam_system(Patches(), single_mask=False).eval()
    points, labels = torch.rand(4, 3, 2) * 60, torch.tensor([[1, 0, -1]]).repeat(4, 1)
    with torch.inference_mode():
        embedding = system.encode(images[:1])
        assert embedding.frame == (96, 64)
        kinds = [
            {"boxes": BOXES},
            {"points": points, "labels": labels},
            {"masks": torch.randn(4, 1, 24, 16)},
            {"boxes": BOXES, "points": points, "labels": labels, "masks": torch.randn(4, 1, 24, 16)},
        ]
        for prompts in kinds:
            logits, quality = system.decode(embedding, **prompts)
            assert logits.shape == (4, 1, 24, 16)
            assert quality.shape == (4, 1)
            three, scores = system.decode(embedding, **prompts, multimask=True)
            assert three.shape == (4, 3, 24, 16)
            assert scores.shape == (4, 3)
        empty, _ = system.decode(embedding, boxes=torch.zeros(0, 4))
        assert empty.shape == (0, 1, 24, 16)


def test_padding_point_changes_nothing_but_the_pad(system):
    """SAM pads points with one 'not a point' only where there is no box, so a user's own padding equals SAM's."""
    encoder, points = system.prompt_encoder, torch.tensor([[[10.0, 20.0]]])
    alone, _ = encoder(frame=(64, 64), points=points, labels=torch.ones(1, 1))
    padded = torch.cat([points, torch.full((1, 1, 2), 7.0)], dim=1)
    box = torch.tensor([[1.0, 2, 3, 4]])
    with_box, _ = encoder(frame=(64, 64), points=padded, labels=torch.tensor([[1, -1]]), boxes=box)
    torch.testing.assert_close(alone, with_box[:, :2])
    assert with_box.shape == (1, 4, 256)


@pytest.mark.parametrize("refine", ["conv", "none"])
def test_gradients_reach_what_a_box_uses(images, refine):
    system = build_sam_system(Patches(), refine=refine)
    logits, quality = system.decode(system.encode(images), boxes=BOXES, image_index=torch.tensor([0, 0, 1, 1]))
    (F.softplus(logits).mean() + quality.sum()).backward()
    prompt = system.prompt_encoder
    unused = {*prompt.mask_downscaling.parameters(), prompt.not_a_point_embed.weight}
    unused |= {prompt.point_embeddings[i].weight for i in (0, 1)}
    if refine == "none":
        unused |= {*system.backbone.convs[0].parameters(), *system.backbone.convs[1].parameters()}
    for name, parameter in system.named_parameters():
        if parameter not in unused:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_bfloat16_is_finite_and_close(system, images):
    index = torch.tensor([0, 1, 1, 0])
    with torch.inference_mode():
        exact, _ = system.decode(system.encode(images), boxes=BOXES, image_index=index)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, _ = system.decode(system.encode(images), boxes=BOXES, image_index=index)
    assert logits.isfinite().all()
    assert (logits.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_channels_last_gives_the_same(images):
    torch.manual_seed(0)
    system = build_sam_system(Patches()).eval()
    with torch.inference_mode():
        wanted, _ = system.decode(system.encode(images[:1]), boxes=BOXES)
        system = system.to(memory_format=torch.channels_last)
        last = images[:1].contiguous(memory_format=torch.channels_last)
        got, _ = system.decode(system.encode(last), boxes=BOXES)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_pyramid_that_ends_at_stride_32():
    info = (FeatureInfo(8, 4), FeatureInfo(16, 8), FeatureInfo(24, 16), FeatureInfo(40, 32))
    system = build_sam_system(Patches(info)).eval()
    assert isinstance(system.neck, TwoScaleNeck)
    embedding = system.encode(torch.randn(1, 3, 64, 96))
    assert embedding.image.shape == (1, 256, 4, 6)
    assert [m.shape[1] for m in embedding.maps] == [8, 16]


def test_single_scale_backbone_is_plain():
    system = create_system("vit-t+sam").eval()
    assert system.mask_decoder.refine is None
    embedding = system.encode(torch.randn(1, 3, 64, 96))
    assert embedding.maps == ()
    assert system.decode(embedding, boxes=BOXES)[0].shape == (4, 1, 16, 24)


def test_saved_system_comes_back(tmp_path):
    system = create_system("vit-t+sam")
    save_file(system.state_dict(), tmp_path / "system.safetensors")
    again = create_system("vit-t+sam", weights=str(tmp_path / "system.safetensors"))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in system.state_dict().items())
    with pytest.raises(WeightsError, match="missing"):
        create_system("vit-t+sam", weights=str(tmp_path / "system.safetensors"), single_mask=False)


def test_timm_pyramid():
    system = create_system("timm:resnet10t+sam").eval()
    embedding = system.encode(torch.randn(1, 3, 64, 96))
    assert system.decode(embedding, boxes=BOXES)[0].shape == (4, 1, 16, 24)


def test_middle_map_is_not_taken_for_the_last():
    info = (FeatureInfo(8, 4), FeatureInfo(16, 8), FeatureInfo(24, 16), FeatureInfo(24, 16))
    system = build_sam_system(Patches(info)).eval()
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(system.encode(images).image, system.neck(system.backbone(images).maps[-1]))


def test_names():
    assert {"rwkvsam-s", "vit-s+sam"} <= set(list_systems())
    assert "rwkvsam-s+sam" not in list_systems()
    assert list_systems("vit-?+sam") == [n for n in list_systems() if n.startswith("vit-")]


def official_rwkvsam(system, decoder_mlps=1):
    """The state dict of `system` under RWKV-SAM's names, with as many hypernetworks as SAM has."""
    state = {}
    for key, value in system.state_dict().items():
        official = key.replace("prompt_encoder.", "pe.").replace("mask_decoder.", "mask_decoder.mask_decoder.", 1)
        state[official.replace("mask_decoder.mask_decoder.refine.", "mask_decoder.")] = torch.randn_like(value)
    mlp = "mask_decoder.mask_decoder.output_hypernetworks_mlps.{}.layers"
    for key in [k for k in state if k.startswith(mlp.format(0))]:
        state |= {key.replace("mlps.0", f"mlps.{i}"): state[key] for i in range(1, decoder_mlps)}
    return state


@pytest.mark.parametrize("wrapper", ["", "module."])
@pytest.mark.parametrize("decoder_mlps", [1, 4])
def test_official_rwkvsam_names(wrapper, decoder_mlps):
    system = build_sam_system(Patches())
    state = official_rwkvsam(system, decoder_mlps)
    linbench.load_official(system, {wrapper + key: value for key, value in state.items()})
    own = system.state_dict()
    assert torch.equal(own["mask_decoder.refine.hr_feat_proj.0.weight"], state["mask_decoder.hr_feat_proj.0.weight"])
    assert torch.equal(own["prompt_encoder.no_mask_embed.weight"], state["pe.no_mask_embed.weight"])
    decoder = build_mask_decoder(refine=ConvRefine(fine_channels=64, middle_channels=128), single_mask=True)
    linbench.load_official(decoder, state)
    assert torch.equal(decoder.iou_token.weight, system.mask_decoder.iou_token.weight)
    again = build_sam_system(Patches())
    linbench.load_official(again, own)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in own.items())


def test_sam_checkpoint_fills_the_parts():
    names = {"prompt_encoder": PromptEncoder(), "mask_decoder": build_mask_decoder(), "image_encoder": nn.Module()}
    names["image_encoder"].neck = Neck(channels=384).out_proj
    state = {f"{part}.{k}": v for part, module in names.items() for k, v in module.state_dict().items()}
    for module in (PromptEncoder(), build_mask_decoder(), build_mask_decoder(single_mask=True), Neck(channels=384)):
        linbench.load_official(module, state)
        for key, value in module.state_dict().items():
            official = module.official_prefix + key
            assert torch.equal(value, state[official.replace("neck.out_proj.", "image_encoder.neck.")])
    with pytest.raises(WeightsError, match="shape"):
        linbench.load_official(Neck(channels=192), state)


BAD_PROMPTS = [
    ({}, "no prompt"),
    ({"boxes": torch.zeros(2, 3)}, r"boxes has shape \[2, 3\], expected \[N, 4\]"),
    ({"points": torch.zeros(1, 1, 2)}, "points and labels belong together"),
    ({"points": torch.zeros(1, 1, 2), "labels": torch.ones(1, 2)}, "labels has shape"),
    ({"points": torch.zeros(1, 1, 2), "labels": torch.tensor([[4]])}, "labels must be"),
    ({"masks": torch.zeros(1, 1, 5, 5)}, r"expected \[N, 1, 24, 16\]"),
    ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(3, 1, 24, 16)}, "differ in number"),
    ({"boxes": BOXES, "image_index": torch.tensor([0, 1, 2, 0])}, "0..1"),
    ({"boxes": BOXES, "image_index": torch.tensor([0, 1])}, r"expected \[4\]"),
    ({"boxes": BOXES}, "image_index"),
    ({"boxes": BOXES, "image_index": torch.zeros(4), "multimask": True}, "one mask token"),
]


@pytest.mark.parametrize(("prompts", "message"), BAD_PROMPTS)
def test_bad_prompts(system, images, prompts, message):
    with pytest.raises(UsageError, match=message):
        system.decode(system.encode(images), **prompts)


def test_bad_systems(system):
    with pytest.raises(UsageError, match="multiples of 16"):
        system.encode(torch.zeros(1, 3, 40, 64))
    with pytest.raises(UsageError, match="stride 16"):
        build_sam_system(Patches((FeatureInfo(8, 14),)))
    with pytest.raises(UsageError, match="strides 4 and 8"):
        build_sam_system(Patches((FeatureInfo(8, 16),)), refine="conv")
    with pytest.raises(UsageError, match="unknown refine"):
        build_sam_system(Patches(), refine="attention")
    with pytest.raises(UsageError, match=r"Did you mean .*rwkvsam-s"):
        create_system("rwkvsam-x")
    with pytest.raises(UsageError, match=r"vit-s\+sam"):
        create_system("vit-s")
    with pytest.raises(UsageError, match="unknown backbone"):
        create_system("vit-z+sam")
