"""Systems by name: any registered backbone under the one SAM decoder that all are compared with."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Any

from torch import nn

from ...backbones import create_backbone, list_backbones
from ...backbones.base import Backbone, FeatureInfo
from ...backbones.official import load_official
from ...backbones.weights import read_checkpoint
from ...errors import UsageError
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .prompt_encoder import PromptEncoder
from .refine import ConvRefine
from .system import System
from .transformer import TwoWayTransformer
from .weights import weights_path

EMBED_DIM = 256
SUFFIX = "+sam"
OFFICIAL = ("rwkvsam-t", "rwkvsam-s", "rwkvsam-b")
REFINE_STRIDES = (4, 8)


def create_system(
    name: str,
    *,
    weights: str | None = None,
    refine: str = "auto",
    single_mask: bool = True,
    **overrides: Any,
) -> System:
    """Build a promptable segmentation system.

    Args:
        name: `rwkvsam-t`, `-s` or `-b`, or `<backbone>+sam` for any backbone, `timm:<name>+sam` included.
        weights: None for random initialisation, `demo` for LinBench's demo weights, or the path of a checkpoint.
        refine: As for `build_sam_system`.
        single_mask: Likewise.
        overrides: Passed on to `create_backbone`, for example `kernels="reference"`.

    Returns:
        The system in training mode.

    Raises:
        UsageError: Unknown name or option, or a backbone without a stride-16 map.
        WeightsError: The checkpoint is missing, unsafe, damaged or of another model.
    """
    backbone = create_backbone(_backbone_name(name), **overrides)
    system = build_sam_system(backbone, refine=refine, single_mask=single_mask)
    if weights is not None:
        load_official(system, read_checkpoint(weights_path(name, weights)))
    return system


def list_systems(pattern: str = "*") -> list[str]:
    """Names of the systems that match a shell pattern; `timm:<name>+sam` works besides for timm models."""
    names = [*OFFICIAL, *(name + SUFFIX for name in list_backbones() if name not in OFFICIAL)]
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


def build_sam_system(backbone: Backbone, *, refine: str = "auto", single_mask: bool = True) -> System:
    """Put a backbone under SAM's decoder, from its `feature_info` alone.

    The neck reads the stride-16 map; of a pyramid that ends at stride 32 it reads that map too (`TwoScaleNeck`).

    Args:
        backbone: Any backbone with a map of stride 16.
        refine: `conv`, `none`, or `auto`: conv where the backbone has maps of strides 4 and 8.
        single_mask: Keep one mask token, as RWKV-SAM does; False for SAM's four.

    Raises:
        UsageError: The backbone lacks the maps that are needed, or no such refine module.
    """
    channels = {info.stride: info.channels for info in backbone.feature_info}
    neck_strides = _neck_strides(backbone.feature_info)
    fuse = _wants_refine(refine, channels)
    return System(
        backbone=backbone,
        neck=_neck(channels, neck_strides),
        prompt_encoder=PromptEncoder(embed_dim=EMBED_DIM, mask_channels=16),
        mask_decoder=build_mask_decoder(
            refine=ConvRefine(fine_channels=channels[4], middle_channels=channels[8]) if fuse else None,
            single_mask=single_mask,
        ),
        neck_strides=neck_strides,
        refine_strides=REFINE_STRIDES if fuse else (),
    )


def build_mask_decoder(*, refine: nn.Module | None = None, single_mask: bool = False) -> MaskDecoder:
    """SAM's mask decoder with its published sizes."""
    return MaskDecoder(
        transformer=TwoWayTransformer(depth=2, dim=EMBED_DIM, heads=8, mlp_dim=2048),
        refine=refine,
        single_mask=single_mask,
        dim=EMBED_DIM,
    )


def _backbone_name(name: str) -> str:
    if name in OFFICIAL:
        return name
    if name.endswith(SUFFIX):
        return name.removesuffix(SUFFIX)
    if name in list_backbones():
        raise UsageError(f"'{name}' is a backbone; its system is '{name}{SUFFIX}'")
    close = difflib.get_close_matches(name, list_systems(), n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise UsageError(f"unknown system '{name}'.{hint} Any backbone gives one: '<backbone>{SUFFIX}'.")


def _neck_strides(info: tuple[FeatureInfo, ...]) -> tuple[int, ...]:
    strides = [entry.stride for entry in info]
    if 16 not in strides:
        raise UsageError(
            f"a SAM system needs a feature map of stride 16 (and 4 and 8 for the refine module); "
            f"this backbone has strides {', '.join(map(str, strides))}: choose one with patches of 16 or a pyramid"
        )
    return (16, 32) if strides[-1] == 32 else (16,)


def _neck(channels: dict[int, int], strides: tuple[int, ...]) -> Neck | TwoScaleNeck:
    if len(strides) == 1:
        return Neck(channels=channels[16], embed_dim=EMBED_DIM)
    return TwoScaleNeck(channels=(channels[16], channels[32]), embed_dim=EMBED_DIM)


def _wants_refine(refine: str, channels: dict[int, int]) -> bool:
    if refine not in {"auto", "conv", "none"}:
        raise UsageError(f"unknown refine module '{refine}'; expected auto, conv or none")
    possible = all(stride in channels for stride in REFINE_STRIDES)
    if refine == "conv" and not possible:
        raise UsageError(
            f"refine='conv' needs maps of strides 4 and 8; this backbone has {', '.join(map(str, channels))}: "
            "use refine='auto'"
        )
    return refine != "none" and possible
