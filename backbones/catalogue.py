"""The backbones that come with LinBench, as data; one line adds one. Importing it does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .spec import BackboneSpec

SIDES = (224, 1024)
Pair = tuple[int, int]


def _size(
    family: BackboneSpec,
    name: str,
    params: int | Mapping[str, int],
    macs: Pair,
    flops: Pair | None = None,
    *,
    note: str = "",
    **kwargs: Any,
) -> BackboneSpec:
    """One size of a family.

    Args:
        family: What all its sizes have in common.
        name: Registry name.
        params: Parameters of the backbone alone, or by convention.
        macs: Multiply-adds at 224 and at 1024 pixels.
        flops: FLOPs of LinBench's operators, likewise.
        note: In place of the family's.
        kwargs: Arguments of the builder besides the family's.
    """
    return replace(
        family,
        name=name,
        kwargs={**family.kwargs, **kwargs},
        params={"backbone": params} if isinstance(params, int) else params,
        macs=dict(zip(SIDES, macs, strict=True)),
        operator_flops=dict(zip(SIDES, flops, strict=True)) if flops else {},
        note=note or family.note,
    )


def _head(backbone: int, width: int) -> dict[str, int]:
    """Counts without and with a linear head of 1,000 classes."""
    return {"backbone": backbone, "with_head": backbone + 1000 * width + 1000}


def _neck(backbone: int, width: int) -> dict[str, int]:
    """Counts without and with SAM's neck."""
    return {"backbone": backbone, "with_neck": backbone + 256 * width + 9 * 256**2 + 4 * 256}


def _at_1024(backbone: int, width: int) -> dict[str, int]:
    """Counts without head, with it, and with it and a position embedding for 1024 pixels."""
    counts = _head(backbone, width)
    return {**counts, "with_head_1024": counts["with_head"] + (64**2 - 14**2) * width}


RWKVSAM = BackboneSpec(
    name="rwkvsam",
    family="rwkvsam",
    mixer="bi-wkv",
    builder=".rwkvsam:RwkvSam",
    source="arXiv 2406.19369; HarborYuan/ovsam, projects/rwkvsam",
    operators=("bi_wkv", "q_shift_mix"),
    strides=(4, 8, 16),
    pyramid={"final_stage": True},
    note="parameters as the paper counts them: no neck, no decoder, no classifier",
)
RWKVSAM_ADE = replace(RWKVSAM, kwargs={"final_stage": True}, strides=(4, 8, 16, 32), image_multiple=32)
RWKVSAM_T: Mapping[str, Any] = {"dims": (32, 64, 192)}
RWKVSAM_S: Mapping[str, Any] = {"dims": (64, 128, 384)}
RWKVSAM_B: Mapping[str, Any] = {"dims": (128, 256, 768)}
RWKVSAM_S_1: Mapping[str, Any] = {**RWKVSAM_S, "early_blocks": (1, 1)}
RWKVSAM_S_2: Mapping[str, Any] = {**RWKVSAM_S, "early_blocks": (2, 2)}
RWKVSAM_S_3: Mapping[str, Any] = {**RWKVSAM_S, "early_blocks": (3, 3)}

VRWKV = BackboneSpec(
    name="vrwkv",
    family="vrwkv",
    mixer="bi-wkv",
    builder=".vrwkv:Vrwkv",
    kwargs={"depth": 12},
    source="arXiv 2403.02308; OpenGVLab/Vision-RWKV",
    operators=("bi_wkv", "q_shift_mix"),
    note="the RWKV-SAM paper quotes T and S without head, B with it",
)
VRWKV_S: Mapping[str, Any] = {"dim": 384, "post_norm": True, "layer_scale": 1.0}
VRWKV_B: Mapping[str, Any] = {"dim": 768, "post_norm": True, "layer_scale": 1e-5}
VRWKV_L_PARAMS = {"backbone": 328659968, "with_head": 334881768}
VRWKV_L: Mapping[str, Any] = {
    **{"dim": 1024, "depth": 24, "post_norm": True, "layer_scale": 1e-5},
    **{"key_norm": True, "position_grid": 12, "head_hidden": 3072},
}

VIT = BackboneSpec(
    name="vit",
    family="vit",
    mixer="softmax",
    builder=".vit:Vit",
    source="arXiv 2012.12877 (DeiT)",
    note="mean and std are DeiT's; timm's augreg weights of this shape want 0.5 for both",
)
EFFICIENTSAM = BackboneSpec(
    name="efficientsam",
    family="vit",
    mixer="softmax",
    builder=".vit:Vit",
    kwargs={"class_token": "dropped", "final_norm": False},
    source="arXiv 2312.00863; yformer/EfficientSAM",
    note="the original writes attention out (attention='eager'); the paper's 22.4M of S includes the neck",
)
SAM_VIT = BackboneSpec(
    name="samvit",
    family="sam_vit",
    mixer="softmax",
    builder=".sam_vit:SamVit",
    source="arXiv 2304.02643; facebookresearch/segment-anything",
)
SAM_B: Mapping[str, Any] = {"dim": 768, "depth": 12, "heads": 12, "global_blocks": (2, 5, 8, 11)}
SAM_L: Mapping[str, Any] = {"dim": 1024, "depth": 24, "heads": 16, "global_blocks": (5, 11, 17, 23)}
SAM_H: Mapping[str, Any] = {"dim": 1280, "depth": 32, "heads": 16, "global_blocks": (7, 15, 23, 31)}
TINY_VIT = BackboneSpec(
    name="tinyvit",
    family="tiny_vit",
    mixer="softmax",
    builder=".tiny_vit:TinyVit",
    source="arXiv 2207.10666, 2306.14289; ChaoningZhang/MobileSAM",
    note="MobileSAM's form: the last stage stays at stride 16",
)

BASED = BackboneSpec(
    name="based",
    family="based",
    mixer="taylor + window softmax",
    builder=".based:Based",
    kwargs={"depth": 12, "feature_dim": 16, "window": 8},
    source="LinBench, after arXiv 2402.18668 (BASED)",
    operators=("taylor_linear_attention", "window_attention"),
    note="LinBench's own extension of BASED to images in the shape of ViT-S; no BASED for images is published",
)
SAM_LIGHTENING = BackboneSpec(
    name="sam-lightening",
    family="sam-lightening",
    mixer="dilated softmax",
    builder=".sam_lightening:SamLightening",
    kwargs={"depth": 12, "branches": (((1024, 2),), ((4096, 4),)), "offsets": (0, 1, 2, 3, 4, 5)},
    source="LinBench, after arXiv 2403.09195 (SAM-Lightening)",
    operators=("dilated_attention",),
    note="the authors' values are unpublished: width, depth, segments, dilations and offsets are LinBench's",
)

VIM = BackboneSpec(
    name="vim",
    family="vim",
    mixer="selective scan, two directions",
    builder=".vim:Vim",
    source="arXiv 2401.09417; hustvl/Vim",
    operators=("causal_conv1d", "selective_scan"),
    note="counts quoted for 1024 pixels are those of position_grid=64 with the classifier head",
)
VMAMBA = BackboneSpec(
    name="vmamba",
    family="vmamba",
    mixer="selective scan, four directions",
    builder=".vmamba:VMamba",
    source="arXiv 2401.10166; MzeroMiko/VMamba",
    operators=("selective_scan_2d",),
    strides=(4, 8, 16, 32),
    image_multiple=4,
    dense={"out_norms": True},
)
VMAMBA_S1 = replace(VMAMBA, kwargs={"ssm_ratio": 1.0})
VMAMBA_V0 = replace(VMAMBA, kwargs={"version": "v0"}, note="first version of VMamba")
EFFICIENTVMAMBA = BackboneSpec(
    name="efficientvmamba",
    family="efficientvmamba",
    mixer="selective scan, atrous",
    builder=".efficientvmamba:EfficientVMamba",
    source="arXiv 2403.09977; TerryPei/EfficientVMamba",
    operators=("atrous_scan", "selective_scan", "atrous_merge"),
    strides=(4, 8, 16, 32),
    image_multiple=4,
    dense={"out_norms": True},
)
NOTES = {
    "vmamba-t": "VMamba-T[s2l5], trained with drop_path 0.2",
    "vmamba-s": "VMamba-S[s2l15], trained with drop_path 0.3; the RWKV-SAM paper quotes it without the linear head",
    "vmamba-b": "VMamba-B[s2l15], trained with drop_path 0.6",
    "vmamba-t-s1l8": "VMamba-T[s1l8], trained with drop_path 0.2",
    "vmamba-s-s1l20": "VMamba-S[s1l20], trained with drop_path 0.3",
    "vmamba-b-s1l20": "VMamba-B[s1l20], trained with drop_path 0.5",
    "efficientvmamba-s": "the repository's configuration file has 96 channels; 64 fit the published counts",
}


def _pyramid(
    family: BackboneSpec, name: str, backbone: int, macs: Pair, flops: Pair, dims: int, blocks: int
) -> BackboneSpec:
    """A VMamba or EfficientVMamba of `blocks` blocks in its third stage; `dims` channels in the first."""
    note = NOTES.get(name, family.note)
    depths = (2, 2, blocks, 2)
    return _size(family, name, _head(backbone, 8 * dims), macs, flops, dims=dims, depths=depths, note=note)


CATALOGUE = (
    _size(RWKVSAM, "rwkvsam-t", 4957664, (1280090112, 26751270912), (15278592, 319291392), **RWKVSAM_T),
    _size(RWKVSAM, "rwkvsam-s", 19727296, (5069783040, 105948119040), (30557184, 638582784), **RWKVSAM_S),
    _size(RWKVSAM, "rwkvsam-b", 78702464, (20177977344, 421678546944), (61114368, 1277165568), **RWKVSAM_B),
    _size(RWKVSAM, "rwkvsam-s-1-1", 17249920, (4780769280, 99908321280), (34922496, 729808896), **RWKVSAM_S_1),
    _size(RWKVSAM, "rwkvsam-s-2-2", 14772544, (4491755520, 93868523520), (39287808, 821035008), **RWKVSAM_S_2),
    _size(RWKVSAM, "rwkvsam-s-3-3", 12295168, (4202741760, 87828725760), (43653120, 912261120), **RWKVSAM_S_3),
    _size(RWKVSAM_ADE, "rwkvsam-t-ade", 5934176, (1371084288, 28652863488), (15278592, 319291392), **RWKVSAM_T),
    _size(RWKVSAM_ADE, "rwkvsam-s-ade", 23597248, (5432404992, 113526177792), (30557184, 638582784), **RWKVSAM_S),
    _size(RWKVSAM_ADE, "rwkvsam-b-ade", 94110080, (21625755648, 451934158848), (61114368, 1277165568), **RWKVSAM_B),
    _size(VRWKV, "vrwkv-t", _head(5962176, 192), (1156055040, 24159191040), (13095936, 273678336), dim=192),
    _size(VRWKV, "vrwkv-s", _head(23435136, 384), (4566417408, 95428804608), (26191872, 547356672), **VRWKV_S),
    _size(VRWKV, "vrwkv-b", _head(92876544, 768), (18150064128, 379299299328), (52383744, 1094713344), **VRWKV_B),
    _size(VRWKV, "vrwkv-l", VRWKV_L_PARAMS, (64276660224, 1343251021824), (139689984, 2919235584), **VRWKV_L),
    _size(VIT, "vit-t", _head(5524416, 192), (1253491200, 99699724800), dim=192, heads=3),
    _size(VIT, "vit-s", _head(21665664, 384), (4598498304, 242896610304), dim=384, heads=6),
    _size(VIT, "vit-b", _head(85798656, 768), (17563060224, 659781863424), dim=768, heads=12),
    _size(SAM_VIT, "samvit-b", _neck(88883456, 768), (17521459200, 482817441792), **SAM_B),
    _size(SAM_VIT, "samvit-l", _neck(307425280, 1024), (61367255040, 1489350492160), **SAM_L),
    _size(SAM_VIT, "samvit-h", _neck(636107520, 1280), (126877040640, 2976783319040), **SAM_H),
    _size(TINY_VIT, "tinyvit-5m", _neck(5071124, 320), (1641664640, 35685916160)),
    _size(EFFICIENTSAM, "efficientsam-ti", _neck(5523840, 192), (1246371840, 99656663040), dim=192, heads=3),
    _size(EFFICIENTSAM, "efficientsam-s", _neck(21664512, 384), (4573642752, 242799869952), dim=384, heads=6),
    _size(BASED, "based-s", _head(20334336, 384), (4222515744, 87046520832), dim=384, heads=6),
    _size(SAM_LIGHTENING, "sam-lightening-style", _head(21664128, 384), (4274919936, 97844723712), dim=384, heads=6),
    _size(VIM, "vim-t", _at_1024(6955008, 192), (1278001152, 26581450752), (573714432, 11931512832), dim=192),
    _size(VIM, "vim-s", _at_1024(25411584, 384), (4821811200, 100284825600), (1147428864, 23863025664), dim=384),
    _size(VIM, "vim-b", _at_1024(96829440, 768), (18706857984, 389057347584), (2294857728, 47726051328), dim=768),
    _pyramid(VMAMBA, "vmamba-t", 29936832, (4715440128, 98543075328), (119218176, 2491416576), 96, 5),
    _pyramid(VMAMBA, "vmamba-s", 49378752, (8498208768, 177595219968), (185450496, 3875536896), 96, 15),
    _pyramid(VMAMBA, "vmamba-b", 87532800, (15068856320, 314908344320), (247267328, 5167382528), 128, 15),
    _pyramid(VMAMBA_S1, "vmamba-t-s1l8", 29480064, (4811853312, 100557914112), (69543936, 1453326336), 96, 8),
    _pyramid(VMAMBA_S1, "vmamba-s-s1l20", 48243840, (8468780544, 176980230144), (109283328, 2283798528), 96, 20),
    _pyramid(VMAMBA_S1, "vmamba-b-s1l20", 85589504, (15029618688, 314088357888), (145711104, 3045064704), 128, 20),
    _pyramid(VMAMBA_V0, "vmamba-t-v0", 22124448, (3676194816, 76824969216), (1933983744, 40416313344), 96, 9),
    _pyramid(VMAMBA_V0, "vmamba-s-v0", 43648416, (7688970240, 160683786240), (3516334080, 73484206080), 96, 27),
    _pyramid(VMAMBA_V0, "vmamba-b-v0", 75229056, (13296238592, 277864251392), (4688445440, 97978941440), 128, 27),
    _pyramid(EFFICIENTVMAMBA, "efficientvmamba-t", 6108660, (656577792, 13685697792), (131862528, 2755657728), 48, 4),
    _pyramid(EFFICIENTVMAMBA, "efficientvmamba-s", 10760688, (1142763520, 23818424320), (175816704, 3674210304), 64, 4),
    _pyramid(EFFICIENTVMAMBA, "efficientvmamba-b", 32948136, (3688676352, 76885373952), (263725056, 5511315456), 96, 9),
)
