"""The backbones that come with LinBench, as data; one line adds one. Importing it does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .spec import BackboneSpec

SIDES = (224, 1024)
RWKVSAM_SOURCE = "arXiv 2406.19369; HarborYuan/ovsam, projects/rwkvsam"
RWKVSAM_DIMS = {"t": (32, 64, 192), "s": (64, 128, 384), "b": (128, 256, 768)}
VRWKV_S: Mapping[str, Any] = {"dim": 384, "post_norm": True, "layer_scale": 1.0}
VRWKV_B: Mapping[str, Any] = {"dim": 768, "post_norm": True, "layer_scale": 1e-5}
VRWKV_L: Mapping[str, Any] = {
    "dim": 1024,
    "depth": 24,
    "post_norm": True,
    "key_norm": True,
    "layer_scale": 1e-5,
    "position_grid": 12,
    "head_hidden": 3072,
}


def _rwkvsam(
    name: str, params: int, *, macs: tuple[int, int], operator_flops: tuple[int, int], **kwargs: Any
) -> BackboneSpec:
    size = name.split("-")[1]
    return BackboneSpec(
        name=name,
        family="rwkvsam",
        mixer="bi-wkv",
        builder=".rwkvsam:RwkvSam",
        kwargs={"dims": RWKVSAM_DIMS[size], **kwargs},
        params={"backbone": params},
        source=RWKVSAM_SOURCE,
        operators=("bi_wkv", "q_shift_mix"),
        strides=(4, 8, 16, 32) if kwargs.get("final_stage") else (4, 8, 16),
        image_multiple=32 if kwargs.get("final_stage") else 16,
        macs=dict(zip(SIDES, macs, strict=True)),
        operator_flops=dict(zip(SIDES, operator_flops, strict=True)),
        note="parameters as the paper counts them: no neck, no decoder, no classifier",
    )


def _vit(name: str, params: int, *, dim: int, heads: int, macs: Mapping[int, int]) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vit",
        mixer="softmax",
        builder=".vit:Vit",
        kwargs={"dim": dim, "heads": heads},
        params={"backbone": params, "with_head": params + 1000 * dim + 1000},
        source="arXiv 2012.12877 (DeiT)",
        macs=macs,
        note="mean and std are DeiT's; timm's augreg weights of this shape want 0.5 for both",
    )


def _vim(
    name: str, params: int, *, dim: int, macs: Mapping[int, int], operator_flops: Mapping[int, int]
) -> BackboneSpec:
    with_head = params + 1000 * dim + 1000
    return BackboneSpec(
        name=name,
        family="vim",
        mixer="selective scan, two directions",
        builder=".vim:Vim",
        kwargs={"dim": dim},
        params={"backbone": params, "with_head": with_head, "with_head_1024": with_head + (64**2 - 14**2) * dim},
        source="arXiv 2401.09417; hustvl/Vim",
        operators=("causal_conv1d", "selective_scan"),
        macs=macs,
        operator_flops=operator_flops,
        note="counts quoted for 1024 pixels are those of position_grid=64 with the classifier head",
    )


def _vrwkv(
    name: str, params: tuple[int, int], *, macs: Mapping[int, int], dim: int, depth: int = 12, **kwargs: Any
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vrwkv",
        mixer="bi-wkv",
        builder=".vrwkv:Vrwkv",
        kwargs={"dim": dim, "depth": depth, **kwargs},
        params=dict(zip(("backbone", "with_head"), params, strict=True)),
        source="arXiv 2403.02308; OpenGVLab/Vision-RWKV",
        operators=("bi_wkv", "q_shift_mix"),
        macs=macs,
        operator_flops={side: 29 * (side // 16) ** 2 * dim * depth for side in (224, 1024)},
        note="the RWKV-SAM paper quotes T and S without head, B with it",
    )


def _efficientsam(name: str, params: int, *, dim: int, heads: int, macs: Mapping[int, int]) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vit",
        mixer="softmax",
        builder=".vit:Vit",
        kwargs={"dim": dim, "heads": heads, "class_token": "dropped", "final_norm": False},
        params={"backbone": params, "with_neck": params + 256 * dim + 9 * 256**2 + 4 * 256},
        source="arXiv 2312.00863; yformer/EfficientSAM",
        macs=macs,
        note="the original writes attention out (attention='eager'); the paper's 22.4M of S includes the neck",
    )


BASED_S = BackboneSpec(
    name="based-s",
    family="based",
    mixer="taylor + window softmax",
    builder=".based:Based",
    kwargs={"dim": 384, "heads": 6, "depth": 12, "feature_dim": 16, "window": 8},
    params={"backbone": 20334336, "with_head": 20719336},
    source="LinBench, after arXiv 2402.18668 (BASED)",
    operators=("taylor_linear_attention", "window_attention"),
    macs={224: 4222515744, 1024: 87046520832},
    note="LinBench's own extension of BASED to images in the shape of ViT-S; no BASED for images is published",
)

SAM_LIGHTENING = BackboneSpec(
    name="sam-lightening-style",
    family="sam-lightening",
    mixer="dilated softmax",
    builder=".sam_lightening:SamLightening",
    kwargs={
        "dim": 384,
        "heads": 6,
        "depth": 12,
        "branches": (((1024, 2),), ((4096, 4),)),
        "offsets": (0, 1, 2, 3, 4, 5),
    },
    params={"backbone": 21664128, "with_head": 22049128},
    source="LinBench, after arXiv 2403.09195 (SAM-Lightening)",
    operators=("dilated_attention",),
    macs={224: 4274919936, 1024: 97844723712},
    note="the authors' values are unpublished: width, depth, segments, dilations and offsets are LinBench's",
)


def _sam_vit(name: str, params: int, *, dim: int, depth: int, heads: int, macs: tuple[int, int]) -> BackboneSpec:
    step = depth // 4
    return BackboneSpec(
        name=name,
        family="sam_vit",
        mixer="softmax",
        builder=".sam_vit:SamVit",
        kwargs={"dim": dim, "depth": depth, "heads": heads, "global_blocks": tuple(range(step - 1, depth, step))},
        params={"backbone": params, "with_neck": params + 256 * dim + 9 * 256**2 + 4 * 256},
        source="arXiv 2304.02643; facebookresearch/segment-anything",
        macs=dict(zip((224, 1024), macs, strict=True)),
    )


def _vmamba(
    name: str,
    params: int,
    *,
    dims: int,
    depths: tuple[int, ...],
    macs: Mapping[int, int],
    operator_flops: Mapping[int, int],
    note: str,
    **kwargs: Any,
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vmamba",
        mixer="selective scan, four directions",
        builder=".vmamba:VMamba",
        kwargs={"dims": dims, "depths": depths, **kwargs},
        params={"backbone": params, "with_head": params + 8000 * dims + 1000},
        source="arXiv 2401.10166; MzeroMiko/VMamba",
        operators=("selective_scan_2d",),
        strides=(4, 8, 16, 32),
        image_multiple=4,
        macs=macs,
        operator_flops=operator_flops,
        dense={"out_norms": True},
        note=note,
    )


def _efficientvmamba(
    name: str,
    params: int,
    *,
    dims: int,
    depths: tuple[int, ...],
    macs: Mapping[int, int],
    operator_flops: Mapping[int, int],
    note: str = "",
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="efficientvmamba",
        mixer="selective scan, atrous",
        builder=".efficientvmamba:EfficientVMamba",
        kwargs={"dims": dims, "depths": depths},
        params={"backbone": params, "with_head": params + 8000 * dims + 1000},
        source="arXiv 2403.09977; TerryPei/EfficientVMamba",
        operators=("atrous_scan", "selective_scan", "atrous_merge"),
        strides=(4, 8, 16, 32),
        image_multiple=4,
        macs=macs,
        operator_flops=operator_flops,
        dense={"out_norms": True},
        note=note,
    )


CATALOGUE = (
    _rwkvsam(
        "rwkvsam-t",
        4957664,
        macs=(1280090112, 26751270912),
        operator_flops=(15278592, 319291392),
    ),
    _rwkvsam(
        "rwkvsam-s",
        19727296,
        macs=(5069783040, 105948119040),
        operator_flops=(30557184, 638582784),
    ),
    _rwkvsam(
        "rwkvsam-b",
        78702464,
        macs=(20177977344, 421678546944),
        operator_flops=(61114368, 1277165568),
    ),
    _rwkvsam(
        "rwkvsam-s-1-1",
        17249920,
        macs=(4780769280, 99908321280),
        operator_flops=(34922496, 729808896),
        early_blocks=(1, 1),
    ),
    _rwkvsam(
        "rwkvsam-s-2-2",
        14772544,
        macs=(4491755520, 93868523520),
        operator_flops=(39287808, 821035008),
        early_blocks=(2, 2),
    ),
    _rwkvsam(
        "rwkvsam-s-3-3",
        12295168,
        macs=(4202741760, 87828725760),
        operator_flops=(43653120, 912261120),
        early_blocks=(3, 3),
    ),
    _rwkvsam(
        "rwkvsam-t-ade",
        5934176,
        macs=(1371084288, 28652863488),
        operator_flops=(15278592, 319291392),
        final_stage=True,
    ),
    _rwkvsam(
        "rwkvsam-s-ade",
        23597248,
        macs=(5432404992, 113526177792),
        operator_flops=(30557184, 638582784),
        final_stage=True,
    ),
    _rwkvsam(
        "rwkvsam-b-ade",
        94110080,
        macs=(21625755648, 451934158848),
        operator_flops=(61114368, 1277165568),
        final_stage=True,
    ),
    _vrwkv("vrwkv-t", (5962176, 6155176), macs={224: 1156055040, 1024: 24159191040}, dim=192),
    _vrwkv("vrwkv-s", (23435136, 23820136), macs={224: 4566417408, 1024: 95428804608}, **VRWKV_S),
    _vrwkv("vrwkv-b", (92876544, 93645544), macs={224: 18150064128, 1024: 379299299328}, **VRWKV_B),
    _vrwkv("vrwkv-l", (328659968, 334881768), macs={224: 64276660224, 1024: 1343251021824}, **VRWKV_L),
    _vit("vit-t", 5524416, macs={224: 1253491200, 1024: 99699724800}, dim=192, heads=3),
    _vit("vit-s", 21665664, macs={224: 4598498304, 1024: 242896610304}, dim=384, heads=6),
    _vit("vit-b", 85798656, macs={224: 17563060224, 1024: 659781863424}, dim=768, heads=12),
    _sam_vit("samvit-b", 88883456, dim=768, depth=12, heads=12, macs=(17521459200, 482817441792)),
    _sam_vit("samvit-l", 307425280, dim=1024, depth=24, heads=16, macs=(61367255040, 1489350492160)),
    _sam_vit("samvit-h", 636107520, dim=1280, depth=32, heads=16, macs=(126877040640, 2976783319040)),
    BackboneSpec(
        name="tinyvit-5m",
        family="tiny_vit",
        mixer="softmax",
        builder=".tiny_vit:TinyVit",
        params={"backbone": 5071124, "with_neck": 5743892},
        source="arXiv 2207.10666, 2306.14289; ChaoningZhang/MobileSAM",
        macs={224: 1641664640, 1024: 35685916160},
        note="MobileSAM's form: the last stage stays at stride 16",
    ),
    _efficientsam("efficientsam-ti", 5523840, macs={224: 1246371840, 1024: 99656663040}, dim=192, heads=3),
    _efficientsam("efficientsam-s", 21664512, macs={224: 4573642752, 1024: 242799869952}, dim=384, heads=6),
    BASED_S,
    SAM_LIGHTENING,
    _vim(
        "vim-t",
        6955008,
        dim=192,
        macs={224: 1278001152, 1024: 26581450752},
        operator_flops={224: 573714432, 1024: 11931512832},
    ),
    _vim(
        "vim-s",
        25411584,
        dim=384,
        macs={224: 4821811200, 1024: 100284825600},
        operator_flops={224: 1147428864, 1024: 23863025664},
    ),
    _vim(
        "vim-b",
        96829440,
        dim=768,
        macs={224: 18706857984, 1024: 389057347584},
        operator_flops={224: 2294857728, 1024: 47726051328},
    ),
    _vmamba(
        "vmamba-t",
        29936832,
        dims=96,
        depths=(2, 2, 5, 2),
        macs={224: 4715440128, 1024: 98543075328},
        operator_flops={224: 119218176, 1024: 2491416576},
        note="VMamba-T[s2l5], trained with drop_path 0.2",
    ),
    _vmamba(
        "vmamba-s",
        49378752,
        dims=96,
        depths=(2, 2, 15, 2),
        macs={224: 8498208768, 1024: 177595219968},
        operator_flops={224: 185450496, 1024: 3875536896},
        note="VMamba-S[s2l15], trained with drop_path 0.3; the RWKV-SAM paper quotes it without the linear head",
    ),
    _vmamba(
        "vmamba-b",
        87532800,
        dims=128,
        depths=(2, 2, 15, 2),
        macs={224: 15068856320, 1024: 314908344320},
        operator_flops={224: 247267328, 1024: 5167382528},
        note="VMamba-B[s2l15], trained with drop_path 0.6",
    ),
    _vmamba(
        "vmamba-t-s1l8",
        29480064,
        dims=96,
        depths=(2, 2, 8, 2),
        ssm_ratio=1.0,
        macs={224: 4811853312, 1024: 100557914112},
        operator_flops={224: 69543936, 1024: 1453326336},
        note="VMamba-T[s1l8], trained with drop_path 0.2",
    ),
    _vmamba(
        "vmamba-s-s1l20",
        48243840,
        dims=96,
        depths=(2, 2, 20, 2),
        ssm_ratio=1.0,
        macs={224: 8468780544, 1024: 176980230144},
        operator_flops={224: 109283328, 1024: 2283798528},
        note="VMamba-S[s1l20], trained with drop_path 0.3",
    ),
    _vmamba(
        "vmamba-b-s1l20",
        85589504,
        dims=128,
        depths=(2, 2, 20, 2),
        ssm_ratio=1.0,
        macs={224: 15029618688, 1024: 314088357888},
        operator_flops={224: 145711104, 1024: 3045064704},
        note="VMamba-B[s1l20], trained with drop_path 0.5",
    ),
    _vmamba(
        "vmamba-t-v0",
        22124448,
        dims=96,
        depths=(2, 2, 9, 2),
        version="v0",
        macs={224: 3676194816, 1024: 76824969216},
        operator_flops={224: 1933983744, 1024: 40416313344},
        note="first version of VMamba",
    ),
    _vmamba(
        "vmamba-s-v0",
        43648416,
        dims=96,
        depths=(2, 2, 27, 2),
        version="v0",
        macs={224: 7688970240, 1024: 160683786240},
        operator_flops={224: 3516334080, 1024: 73484206080},
        note="first version of VMamba",
    ),
    _vmamba(
        "vmamba-b-v0",
        75229056,
        dims=128,
        depths=(2, 2, 27, 2),
        version="v0",
        macs={224: 13296238592, 1024: 277864251392},
        operator_flops={224: 4688445440, 1024: 97978941440},
        note="first version of VMamba",
    ),
    _efficientvmamba(
        "efficientvmamba-t",
        6108660,
        dims=48,
        depths=(2, 2, 4, 2),
        macs={224: 656577792, 1024: 13685697792},
        operator_flops={224: 131862528, 1024: 2755657728},
    ),
    _efficientvmamba(
        "efficientvmamba-s",
        10760688,
        dims=64,
        depths=(2, 2, 4, 2),
        macs={224: 1142763520, 1024: 23818424320},
        operator_flops={224: 175816704, 1024: 3674210304},
        note="the repository's configuration file has 96 channels; 64 fit the published counts",
    ),
    _efficientvmamba(
        "efficientvmamba-b",
        32948136,
        dims=96,
        depths=(2, 2, 9, 2),
        macs={224: 3688676352, 1024: 76885373952},
        operator_flops={224: 263725056, 1024: 5511315456},
    ),
)
