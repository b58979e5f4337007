"""Systems built from their descriptions: a backbone, its neck, a prompt encoder and a mask decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import nn

from ...backbones import backbone_spec, create_backbone
from ...backbones.base import Backbone, FeatureInfo
from ...backbones.weights import load_checkpoint
from ...errors import UsageError
from .efficient_prompts import EfficientPromptEncoder
from .hq_decoder import HqMaskDecoder
from .layers import Activation
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .prompt_encoder import PromptEncoder
from .refine import build_refine, refine_operators
from .system import System
from .systems import HeadKind, system_spec
from .transformer import EfficientTwoWayBlock, TwoWayBlock, TwoWayTransformer
from .weights import weights_path

EMBED_DIM = 256
REFINE_STRIDES = (4, 8)


def create_system(name: str, *, weights: str | None = None, **overrides: Any) -> System:
    """Build a promptable segmentation system.

    Args:
        name: A name of `list_systems`, or `<backbone>+sam` for any backbone, `timm:<name>+sam` included.
        weights: None for random initialisation, `demo` for LinBench's demo weights, `official` for the official
            checkpoint, or the path of a checkpoint.
        overrides: Options of the head (`refine` and `single_mask` of the common decoder, `hq_token_only` of HQ-SAM's:
            see `build_sam_system` and `build_hq_system`); all others go to `create_backbone`, for example
            `kernels="torch"`, which the refine module gets too where it calls operators.

    Returns:
        The system in training mode.

    Raises:
        UsageError: Unknown name or option, or a backbone without a stride-16 map.
        WeightsError: The checkpoint is missing, unsafe, damaged or of another model.
    """
    spec = system_spec(name)
    build, head_options = _HEADS[spec.head]
    head = {key: overrides.pop(key) for key in head_options if key in overrides}
    if foreign := sorted({key for _, keys in _HEADS.values() for key in keys} & overrides.keys()):
        raise UsageError(
            f"system '{name}' has no option {foreign[0]}: its decoder is of kind '{spec.head}'; leave it out"
        )
    backbone = backbone_spec(spec.backbone)
    if "kernels" in overrides and refine_operators(head.get("refine", "none")):
        head["kernels"] = overrides["kernels"]
        if not backbone.operators:
            del overrides["kernels"]
    options = {**backbone.dense, **spec.options, **overrides}
    system = build(create_backbone(spec.backbone, **options), **head)
    system.preprocessing = spec.preprocessing
    if weights is not None:
        load_checkpoint(system, weights_path(name, weights))
    return system


def build_sam_system(
    backbone: Backbone, *, refine: str = "auto", single_mask: bool = True, kernels: str = "auto"
) -> System:
    """Put a backbone under SAM's decoder, from its `feature_info` alone.

    The neck reads the stride-16 map; of a pyramid that ends at stride 32 it reads that map too (`TwoScaleNeck`).

    Args:
        backbone: Any backbone with a map of stride 16.
        refine: A refine module (`conv`, `mamba`, `rwkv`, `dcn`: see `REFINE_MODULES`), `none`, or `auto`: conv where
            the backbone has maps of strides 4 and 8.
        single_mask: Keep one mask token, as RWKV-SAM does; False for SAM's four.
        kernels: Backend of the operators that the refine module calls.

    Raises:
        UsageError: The backbone lacks the maps that are needed, no such refine module, or `kernels` for one that calls
            no operators.
    """
    channels = {info.stride: info.channels for info in backbone.feature_info}
    neck, neck_maps = _neck(backbone.feature_info)
    fusion = _refine_module(refine, channels, kernels)
    return System(
        backbone=backbone,
        neck=neck,
        prompt_encoder=PromptEncoder(embed_dim=EMBED_DIM, mask_channels=16),
        mask_decoder=build_mask_decoder(
            refine=fusion,
            single_mask=single_mask,
        ),
        neck_maps=neck_maps,
        decoder_maps=tuple(_last(backbone.feature_info, stride) for stride in REFINE_STRIDES) if fusion else (),
    )


def build_hq_system(backbone: Backbone, *, hq_token_only: bool = False) -> System:
    """Put a backbone under HQ-SAM's decoder.

    Args:
        backbone: A backbone with two maps of stride 16, the first of them early (`early=True` in SAM's and TinyViT).
        hq_token_only: As for `HqMaskDecoder`.

    Raises:
        UsageError: The backbone has no early map.
    """
    neck, neck_maps = _neck(backbone.feature_info)
    strides = [info.stride for info in backbone.feature_info]
    early = strides.index(16)
    if early == neck_maps[0]:
        raise UsageError("HQ-SAM's decoder reads an early map of stride 16 besides the last: build with early=True")
    return System(
        backbone=backbone,
        neck=neck,
        prompt_encoder=PromptEncoder(embed_dim=EMBED_DIM, mask_channels=16),
        mask_decoder=HqMaskDecoder(
            transformer=_transformer(),
            early_channels=backbone.feature_info[early].channels,
            hq_token_only=hq_token_only,
            dim=EMBED_DIM,
        ),
        neck_maps=neck_maps,
        decoder_maps=(early,),
    )


def build_efficient_system(backbone: Backbone) -> System:
    """Put a backbone with a map of stride 16 under EfficientSAM's prompt encoder and decoder."""
    neck, neck_maps = _neck(backbone.feature_info)
    return System(
        backbone=backbone,
        neck=neck,
        prompt_encoder=EfficientPromptEncoder(embed_dim=EMBED_DIM),
        mask_decoder=build_efficient_decoder(),
        neck_maps=neck_maps,
    )


def build_mask_decoder(*, refine: nn.Module | None = None, single_mask: bool = False) -> MaskDecoder:
    """SAM's mask decoder with its published sizes."""
    return MaskDecoder(transformer=_transformer(), refine=refine, single_mask=single_mask, dim=EMBED_DIM)


def build_efficient_decoder() -> MaskDecoder:
    """EfficientSAM's mask decoder: SAM's with other self-attention, GELU in every MLP, and a norm over whole maps."""
    return MaskDecoder(
        transformer=_transformer(activation=F.gelu, block=EfficientTwoWayBlock),
        dim=EMBED_DIM,
        activation=F.gelu,
        norm=partial(nn.GroupNorm, 1),
    )


def _transformer(*, activation: Activation = F.relu, block: type[TwoWayBlock] = TwoWayBlock) -> TwoWayTransformer:
    return TwoWayTransformer(depth=2, dim=EMBED_DIM, heads=8, mlp_dim=2048, activation=activation, block=block)


_HEADS: Mapping[HeadKind, tuple[Callable[..., System], tuple[str, ...]]] = {
    "sam": (partial(build_sam_system, refine="none", single_mask=False), ()),
    "hq": (build_hq_system, ("hq_token_only",)),
    "efficientsam": (build_efficient_system, ()),
    "common": (build_sam_system, ("refine", "single_mask")),
}


def _last(info: tuple[FeatureInfo, ...], stride: int) -> int:
    # Of several maps with one stride the last counts: an optional early or middle map comes before the final one.
    return max(i for i, entry in enumerate(info) if entry.stride == stride)


def _neck(info: tuple[FeatureInfo, ...]) -> tuple[Neck | TwoScaleNeck, tuple[int, ...]]:
    strides = [entry.stride for entry in info]
    if 16 not in strides:
        raise UsageError(
            f"a SAM system needs a feature map of stride 16 (and 4 and 8 for the refine module); "
            f"this backbone has strides {', '.join(map(str, strides))}: choose one with patches of 16 or a pyramid"
        )
    fine = _last(info, 16)
    if strides[-1] != 32:
        return Neck(channels=info[fine].channels, embed_dim=EMBED_DIM), (fine,)
    coarse = len(info) - 1
    neck = TwoScaleNeck(channels=(info[fine].channels, info[coarse].channels), embed_dim=EMBED_DIM)
    return neck, (fine, coarse)


def _refine_module(name: str, channels: dict[int, int], kernels: str) -> nn.Module | None:
    operators = refine_operators(name)
    if kernels != "auto" and not operators:
        raise UsageError(
            f"refine='{name}' calls none of LinBench's operators, so kernels='{kernels}' cannot apply; leave it out"
        )
    possible = all(stride in channels for stride in REFINE_STRIDES)
    if name == "none" or (name == "auto" and not possible):
        return None
    if not possible:
        raise UsageError(
            f"refine='{name}' needs maps of strides 4 and 8; this backbone has {', '.join(map(str, channels))}: "
            "use refine='auto'"
        )
    return build_refine(
        "conv" if name == "auto" else name, fine_channels=channels[4], middle_channels=channels[8], kernels=kernels
    )
