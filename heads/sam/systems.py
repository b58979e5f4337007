"""Promptable segmentation systems, as data: which backbone under which head, fed how."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...backbones import backbone_spec, list_backbones
from ...errors import UsageError
from .preprocess import Preprocessing

HeadKind = Literal["sam", "hq", "efficientsam", "common"]
SUFFIX = "+sam"


@dataclass(frozen=True)
class SystemSpec:
    """A system described as data.

    Attributes:
        name: Registry name.
        backbone: Name of its backbone.
        head: `sam`: segment-anything's decoder with four mask tokens; `hq`: HQ-SAM's; `efficientsam`: EfficientSAM's;
            `common`: the decoder that backbones are compared under, RWKV-SAM's: one mask token, and the refine module
            where the backbone has maps of strides 4 and 8.
        preprocessing: Geometry and normalisation of its images, and the way back.
        options: Arguments of the backbone's builder on top of its own `kwargs` and `dense`.
        params: Parameters in all, or None where nobody has counted them. The classifier that lies unused in the
            checkpoints of MobileSAM and Light HQ-SAM is not among them.
        licence: Licence of the original code; empty for LinBench's own combinations.
        source: Paper and repository.
        note: What a reader of a table must know about this entry.
    """

    name: str
    backbone: str
    head: HeadKind
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    options: Mapping[str, Any] = field(default_factory=dict)
    params: int | None = None
    licence: str = ""
    source: str = ""
    note: str = ""


APACHE = "Apache-2.0"
SAM_SOURCE = "arXiv 2304.02643; facebookresearch/segment-anything"
HQ_SOURCE = "arXiv 2306.01567; SysCV/sam-hq"
# RWKV-SAM's evaluation resizes with OpenCV, as mmdet does; training and evaluation normalise alike for every backbone.
COMMON = Preprocessing(resampling="cv2")
STRETCHED = Preprocessing(geometry="stretch")

SYSTEMS = (
    *(
        SystemSpec(f"sam-vit-{size}", f"samvit-{size}", "sam", params=params, licence=APACHE, source=SAM_SOURCE)
        for size, params in (("b", 93735472), ("l", 312342832), ("h", 641090608))
    ),
    *(
        SystemSpec(
            f"hq-sam-{size}",
            f"samvit-{size}",
            "hq",
            options={"early": True},
            params=params,
            licence=APACHE,
            source=HQ_SOURCE,
            note="SAM's logits plus the HQ token's; hq_token_only=True for the latter alone",
        )
        for size, params in (("b", 94806576), ("l", 313676080), ("h", 642686000))
    ),
    SystemSpec(
        "light-hq-sam",
        "tinyvit-5m",
        "hq",
        options={"early": True},
        params=10256964,
        licence=APACHE,
        source=HQ_SOURCE,
    ),
    *(
        SystemSpec(
            f"efficientsam-{size}",
            f"efficientsam-{size}",
            "efficientsam",
            preprocessing=STRETCHED,
            params=params,
            licence=APACHE,
            source="arXiv 2312.00863; yformer/EfficientSAM",
            note="images are stretched to the frame; neither mask prompts nor background points; at most six points",
        )
        for size, params in (("ti", 10223204), ("s", 26413028))
    ),
    SystemSpec(
        "mobilesam",
        "tinyvit-5m",
        "sam",
        params=9808452,
        licence=APACHE,
        source="arXiv 2306.14289; ChaoningZhang/MobileSAM",
    ),
    SystemSpec(
        "sam-lightening-style",
        "sam-lightening-style",
        "sam",
        params=26417840,
        source="LinBench, after arXiv 2403.09195 (SAM-Lightening)",
        note="the authors' sizes and weights are unpublished: the encoder's sizes are LinBench's",
    ),
    *(
        SystemSpec(
            f"rwkvsam-{size}",
            f"rwkvsam-{size}",
            "common",
            preprocessing=COMMON,
            params=params,
            licence="S-Lab 1.0",
            source="arXiv 2406.19369; HarborYuan/ovsam, projects/rwkvsam",
            note="no official weights are published; its predicted quality is not trained",
        )
        for size, params in (("t", 9388880), ("s", 24242480), ("b", 83385584))
    ),
)
OFFICIAL: Mapping[str, SystemSpec] = {spec.name: spec for spec in SYSTEMS}
# These stand under the common decoder already, by the backbone's own name.
_COMMON_BACKBONES = frozenset(spec.backbone for spec in SYSTEMS if spec.head == "common")


def list_systems(pattern: str = "*") -> list[str]:
    """Names of the systems that match a shell pattern; `timm:<name>+sam` works besides for timm models."""
    names = [*OFFICIAL, *(name + SUFFIX for name in list_backbones() if name not in _COMMON_BACKBONES)]
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


def system_spec(name: str) -> SystemSpec:
    """The description of one system.

    Args:
        name: Registry name, or `<backbone>+sam` for any backbone, `timm:<name>+sam` included.

    Raises:
        UsageError: No such name; the message suggests near ones.
    """
    if name in OFFICIAL:
        return OFFICIAL[name]
    if name.endswith(SUFFIX):
        backbone = backbone_spec(name.removesuffix(SUFFIX))
        return SystemSpec(
            name,
            backbone.name,
            "common",
            preprocessing=COMMON,
            source=backbone.source,
            note=backbone.note,
        )
    if name in list_backbones():
        raise UsageError(f"'{name}' is a backbone; its system is '{name}{SUFFIX}'")
    close = difflib.get_close_matches(name, list_systems(), n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise UsageError(f"unknown system '{name}'.{hint} Any backbone gives one: '<backbone>{SUFFIX}'.")
