"""Masks as COCO's compressed run lengths, made and read by pycocotools."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt


class Rle(TypedDict):
    """A compressed run-length encoded mask: `size` is height and width, `counts` is COCO's text; JSON as it stands."""

    size: list[int]
    counts: str


def encode_masks(masks: npt.NDArray[Any]) -> list[Rle]:
    """Run lengths of masks `[n, H, W]`; non-zero is foreground."""
    from pycocotools import mask as coco

    if not len(masks):
        return []
    columns_first = np.asfortranarray((masks != 0).view(np.uint8).transpose(1, 2, 0))
    return [
        Rle(size=[int(side) for side in rle["size"]], counts=rle["counts"].decode("ascii"))
        for rle in coco.encode(columns_first)
    ]


def encode_mask(mask: npt.NDArray[Any]) -> Rle:
    """Run lengths of a mask `[H, W]`."""
    return encode_masks(mask[None])[0]


def decode_mask(rle: Rle) -> npt.NDArray[np.bool_]:
    """The mask `[H, W]` of run lengths that are known to be sound."""
    from pycocotools import mask as coco

    return np.asarray(coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")}), dtype=bool)
