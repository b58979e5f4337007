"""The backbones that come with LinBench, as data; one line adds one. Importing it does not import torch."""

from __future__ import annotations

from typing import Any

from .spec import BackboneSpec

RWKVSAM_SOURCE = "arXiv 2406.19369; HarborYuan/ovsam, projects/rwkvsam"
RWKVSAM_DIMS = {"t": (32, 64, 192), "s": (64, 128, 384), "b": (128, 256, 768)}


def _rwkvsam(name: str, params: int, *, dims: tuple[int, int, int], **kwargs: Any) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="rwkvsam",
        mixer="bi-wkv",
        builder=".rwkvsam:RwkvSam",
        kwargs={"dims": dims, **kwargs},
        params={"backbone": params},
        source=RWKVSAM_SOURCE,
        operators=("bi_wkv", "q_shift_mix"),
        strides=(4, 8, 16, 32) if kwargs.get("final_stage") else (4, 8, 16),
        image_multiple=32 if kwargs.get("final_stage") else 16,
    )


def _vit(name: str, params: int, *, dim: int, heads: int) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="vit",
        mixer="softmax",
        builder=".vit:Vit",
        kwargs={"dim": dim, "heads": heads},
        params={"backbone": params, "with_head": params + 1000 * dim + 1000},
        source="arXiv 2012.12877 (DeiT)",
    )


CATALOGUE = (
    *(_rwkvsam(f"rwkvsam-{s}", n, dims=RWKVSAM_DIMS[s]) for s, n in (("t", 4957664), ("s", 19727296), ("b", 78702464))),
    *(
        _rwkvsam(f"rwkvsam-s-{i}-{i}", n, dims=RWKVSAM_DIMS["s"], early_blocks=(i, i))
        for i, n in ((1, 17249920), (2, 14772544), (3, 12295168))
    ),
    *(
        _rwkvsam(f"rwkvsam-{s}-ade", n, dims=RWKVSAM_DIMS[s], final_stage=True)
        for s, n in (("t", 5934176), ("s", 23597248), ("b", 94110080))
    ),
    _vit("vit-t", 5524416, dim=192, heads=3),
    _vit("vit-s", 21665664, dim=384, heads=6),
    _vit("vit-b", 85798656, dim=768, heads=12),
)
