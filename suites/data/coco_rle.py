"""Masks in COCO's forms to compressed run lengths: polygons and both kinds of run lengths, sizes checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ...heads.run_lengths import Rle, encode_masks
from .masks import Bools

_FIRST_SYMBOL, _SYMBOLS = 48, 64
_FARTHEST = 2**16  # pixels; pycocotools walks along every edge, and crashes on edges that are much longer
_LONGEST_RUN = 6  # symbols of five bits; more would not fit COCO's 32-bit run lengths


def to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Bring a `segmentation` of a COCO file to compressed run lengths, as pycocotools does.

    Args:
        segmentation: A list of polygons, or a dictionary with `size` and `counts` (a text or a list of runs).
        height: Of the image, in pixels.
        width: Likewise.

    Raises:
        ValueError: Neither form, another size than the image's, or runs that do not cover the image exactly.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise ValueError(f"segmentation is {_kind(segmentation)}; expected polygons or an RLE with size and counts")
    size, counts = segmentation["size"], segmentation["counts"]
    sides = list(size) if isinstance(size, (list, tuple, np.ndarray)) else size
    if sides != [height, width]:
        raise ValueError(f"RLE of size {sides!r:.40} for an image of {[height, width]} (height, width)")
    if isinstance(counts, list):
        return _from_runs(counts, height, width)
    if not isinstance(counts, (str, bytes)):
        raise ValueError(f"RLE counts are {_kind(counts)}; expected text or a list of runs")
    data = counts.encode() if isinstance(counts, str) else counts
    _check_runs(_runs(data), height, width)
    return Rle(size=[height, width], counts=data.decode("ascii"))


def box_rles(boxes: npt.NDArray[Any], height: int, width: int) -> list[Rle]:
    """Filled boxes as compressed run lengths, the pixels whose centres they cover.

    Args:
        boxes: `[n, 4]` as x0, y0, x1, y1 in pixels, x1 = x + w.
        height: Of the image, in pixels.
        width: Likewise.
    """
    rles = []
    for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist():
        mask = np.zeros((1, height, width), bool)
        mask[:, max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
        rles += encode_masks(mask)
    return rles


def decode_masks(rles: Sequence[Rle], height: int, width: int) -> Bools:
    """Masks `[n, H, W]` of compressed run lengths of one size; `n` may be 0."""
    masks = np.empty((len(rles), height, width), np.bool_)
    for mask, rle in zip(masks, rles, strict=True):
        runs = _runs(rle["counts"].encode())
        mask[:] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    return masks


def area(rle: Rle) -> int:
    """Foreground pixels."""
    return int(coco_mask.area(rle))


def _from_polygons(polygons: list[Any], height: int, width: int) -> Rle:
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 4 or len(polygon) % 2:
            raise ValueError(f"a polygon is {_kind(polygon)}; expected x, y, x, y, ...")
        if not all(isinstance(value, (int, float)) for value in polygon):
            raise ValueError("a polygon holds something else than numbers")
        if not all(abs(value) <= _FARTHEST for value in polygon):
            raise ValueError(f"a polygon holds values that are not finite or beyond {_FARTHEST}; expected pixels")
    if not polygons:
        raise ValueError("segmentation is an empty list; expected polygons or an RLE")
    try:
        merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    except Exception as error:  # pycocotools raises the base class
        raise ValueError(f"polygons that pycocotools does not read ({error})") from error
    return Rle(size=[height, width], counts=merged["counts"].decode("ascii"))


def _from_runs(counts: list[Any], height: int, width: int) -> Rle:
    if not all(isinstance(run, int) for run in counts):
        raise ValueError("RLE runs hold something else than whole numbers")
    if any(abs(run) > height * width for run in counts):
        raise ValueError(f"RLE with a run longer than an image of {width}x{height}")
    _check_runs(np.array(counts, np.int64), height, width)
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return Rle(size=[height, width], counts=packed["counts"].decode("ascii"))


def _runs(counts: bytes) -> npt.NDArray[np.int64]:
    """Run lengths of compressed counts: five bits a symbol, low first; from the fourth on, differences to two before.

    pycocotools trusts these texts and would read past the mask's end.
    """
    symbols = np.frombuffer(counts, np.uint8).astype(np.int64) - _FIRST_SYMBOL
    if not len(symbols) or symbols.min() < 0 or symbols.max() >= _SYMBOLS or symbols[-1] & 32:
        raise ValueError("RLE counts are no COCO text; expected what pycocotools.mask.encode gives")
    ends = np.flatnonzero(symbols & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_RUN:
        raise ValueError("RLE counts hold a run of more than 32 bits")
    place = np.arange(len(symbols)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((symbols & 31) << (5 * place), starts)
    runs -= np.where(symbols[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return np.asarray(runs)


def _check_runs(runs: npt.NDArray[np.int64], height: int, width: int) -> None:
    if not len(runs) or runs.min() < 0:
        raise ValueError("RLE with a negative run, or without any")
    if runs.sum() != height * width:
        raise ValueError(f"RLE of {int(runs.sum())} pixels for an image of {width}x{height} = {height * width}")


def _kind(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{value!r:.40}"
