"""UperNet: published counts, any backbone, any size, official names."""

import linbench
import pytest
import torch
from linbench.backbones import backbone_spec, create_backbone, list_backbones
from linbench.backbones.base import FeatureInfo
from linbench.errors import UsageError, WeightsError
from linbench.heads.upernet import FcnHead, Pyramid, UperHead, create_segmenter

pytestmark = pytest.mark.usefixtures("one_thread")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "backbone", "head", "auxiliary"),
    [
        ("rwkvsam-t", 5_934_176, 28.74, 0.48),
        ("rwkvsam-s", 23_597_248, 31.45, 0.92),
        ("rwkvsam-b", 94_110_080, 36.85, 1.81),
    ],
)
def test_parameters_are_as_published(name, backbone, head, auxiliary):
    with torch.device("meta"):
        segmenter = create_segmenter(name)
    assert count(segmenter.backbone) == backbone
    assert count(segmenter.neck) == 0, "RWKV-SAM has four maps of its own"
    assert round(count(segmenter.decode_head) / 1e6, 2) == head
    assert round(count(segmenter.auxiliary_head) / 1e6, 2) == auxiliary


def test_parameters_over_a_plain_vit_are_as_published():
    with torch.device("meta"):
        head = UperHead([FeatureInfo(384, stride) for stride in (4, 8, 16, 32)], num_classes=150)
        auxiliary = FcnHead(384, num_classes=150)
    assert round(count(head) / 1e6, 2) == 29.19
    assert round(count(auxiliary) / 1e6, 2) == 0.92


@pytest.mark.parametrize("name", list_backbones())
def test_every_backbone_has_a_pyramid_of_four_levels(name):
    spec = backbone_spec(name)
    with torch.device("meta"):
        backbone = create_backbone(name, **spec.dense, **spec.pyramid)
        neck = Pyramid(backbone.feature_info)
    maps = [torch.zeros(1, info.channels, 128 // info.stride, 128 // info.stride) for info in backbone.feature_info]
    levels = neck.to_empty(device="cpu").eval()(maps)
    assert [info.stride for info in neck.feature_info] == [4, 8, 16, 32]
    assert [tuple(x.shape) for x in levels] == [
        (1, info.channels, 128 // info.stride, 128 // info.stride) for info in neck.feature_info
    ]


@pytest.mark.parametrize(
    "name", ["rwkvsam-t", "vit-t", "efficientvmamba-t", "timm:resnet10t", "timm:vit_tiny_patch16_224"]
)
def test_any_size_gives_logits_of_that_size(name):
    segmenter = linbench.create_segmenter(name, num_classes=5, channels=8).eval()
    images = torch.randn(1, 3, 50, 77)
    step = segmenter.backbone.image_multiple
    with torch.no_grad():
        logits = segmenter(images)
        padded = segmenter(torch.nn.functional.pad(images, (0, -77 % step, 0, -50 % step)))
    assert logits.shape == (1, 5, 50, 77)
    assert torch.allclose(logits, padded[..., :50, :77], atol=1e-5), "padding is on the right and below, with zeros"


def test_timm_models_of_windows_and_odd_patches_take_any_size():
    for name in ("timm:swin_tiny_patch4_window7_224", "timm:vit_small_patch14_dinov2"):
        segmenter = create_segmenter(name, num_classes=3, channels=4).eval()
        with torch.no_grad():
            assert segmenter(torch.randn(1, 3, 40, 60)).shape == (1, 3, 40, 60)


@pytest.mark.parametrize(
    ("strides", "sources", "sizes"),
    [
        ((16,), (0, 0, 0, 0), (16, 8, 4, 2)),
        ((4, 8, 16), (0, 1, 2, 2), (16, 8, 4, 2)),
        ((8, 16, 32), (0, 0, 1, 2), (16, 8, 4, 2)),
        ((2, 4, 8, 16, 32, 64), (1, 2, 3, 4), (16, 8, 4, 2)),
        ((4, 8, 16, 16), (0, 1, 3, 3), (16, 8, 4, 2)),
        ((32,), (0, 0, 0, 0), (8, 4, 2, 1)),
    ],
)
def test_missing_levels_are_made_of_the_nearest(strides, sources, sizes):
    neck = Pyramid([FeatureInfo(index + 2, stride) for index, stride in enumerate(strides)]).eval()
    assert neck.sources == sources
    levels = neck([torch.randn(1, index + 2, 64 // stride, 64 // stride) for index, stride in enumerate(strides)])
    assert tuple(x.shape[-1] for x in levels) == sizes
    assert [x.shape[1] for x in levels] == [info.channels for info in neck.feature_info]


def test_the_head_is_what_its_formula_says():
    torch.manual_seed(0)
    info = [FeatureInfo(width, 4 * 2**level) for level, width in enumerate((3, 5, 7, 9))]
    head = UperHead(info, num_classes=4, channels=6).eval()
    maps = [torch.randn(1, one.channels, 48 // one.stride, 64 // one.stride) for one in info]

    def block(module, x):
        weight = module.conv.weight
        x = torch.nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        x = (x - module.bn.running_mean[:, None, None]) / (module.bn.running_var[:, None, None] + 1e-5).sqrt()
        return (x * module.bn.weight[:, None, None] + module.bn.bias[:, None, None]).clamp(min=0)

    def grown(x, like):
        return torch.nn.functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)

    with torch.no_grad():
        pools = [
            grown(block(head.psp_modules[i][1], torch.nn.functional.adaptive_avg_pool2d(maps[3], size)), maps[3])
            for i, size in enumerate((1, 2, 3, 6))
        ]
        p4 = block(head.bottleneck, torch.cat([maps[3], *pools], 1))
        p3 = block(head.lateral_convs[2], maps[2]) + grown(p4, maps[2])
        p2 = block(head.lateral_convs[1], maps[1]) + grown(p3, maps[1])
        p1 = block(head.lateral_convs[0], maps[0]) + grown(p2, maps[0])
        fused = [block(conv, x) for conv, x in zip(head.fpn_convs, (p1, p2, p3), strict=True)] + [p4]
        joined = block(head.fpn_bottleneck, torch.cat([grown(x, p1) for x in fused], 1))
        wanted = torch.nn.functional.conv2d(joined, head.conv_seg.weight, head.conv_seg.bias)
        assert torch.allclose(head(maps), wanted, atol=1e-5)


def test_checkpoints_in_mmsegmentations_layout_load(tmp_path):
    source = create_segmenter("vmamba-t-s1l8", num_classes=3, channels=4)
    assert {"decode_head.psp_modules.3.1.bn.weight", "decode_head.lateral_convs.0.conv.weight"} <= set(
        source.state_dict()
    )
    assert {"decode_head.conv_seg.bias", "auxiliary_head.convs.0.conv.weight"} <= set(source.state_dict())
    wrapped = {"meta": {"iter": 160_000}, "state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}
    torch.save(wrapped, tmp_path / "upernet.pth")
    loaded = create_segmenter("vmamba-t-s1l8", num_classes=3, channels=4, weights=str(tmp_path / "upernet.pth"))
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), source.state_dict().values(), strict=True)
    )
    bare = create_segmenter(
        "vmamba-t-s1l8", num_classes=3, channels=4, auxiliary=False, weights=str(tmp_path / "upernet.pth")
    )
    assert bare.auxiliary_head is None
    with pytest.raises(WeightsError, match="conv_seg"):
        create_segmenter("vmamba-t-s1l8", num_classes=4, channels=4, weights=str(tmp_path / "upernet.pth"))


def test_a_classifiers_weights_start_the_backbone(tmp_path):
    classifier = linbench.create_classifier("rwkvsam-t", num_classes=7)
    torch.save(classifier.state_dict(), tmp_path / "imagenet.pth")
    segmenter = create_segmenter(
        "rwkvsam-t", num_classes=3, channels=4, backbone_weights=str(tmp_path / "imagenet.pth")
    )
    own = segmenter.backbone.state_dict()
    given = classifier.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in given.items())
    assert {key.partition(".")[0] for key in set(own) - set(given)} == {"final_layer"}


def test_what_cannot_be_is_told():
    with pytest.raises(UsageError, match="Did you mean"):
        create_segmenter("rwkvsam-tt")
    with pytest.raises(UsageError, match="num_classes"):
        create_segmenter("vit-t", num_classes=1)
    segmenter = create_segmenter("vit-t", num_classes=2, channels=4, auxiliary=False)
    with pytest.raises(UsageError, match="auxiliary"):
        segmenter.with_auxiliary(torch.zeros(1, 3, 32, 32))
    with pytest.raises(UsageError, match=r"\[B, 3, H, W\]"):
        segmenter(torch.zeros(1, 1, 32, 32))
    with pytest.raises(UsageError, match="2 images"):
        segmenter.train()(torch.zeros(1, 3, 32, 32))
