"""Segment everything: prompt a grid of points, keep stable masks, drop duplicates (segment-anything)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...errors import UsageError
from ..run_lengths import Rle, decode_mask, encode_mask
from .predictor import Bools, Predictor
from .regions import (
    Box,
    crop_boxes,
    mask_box,
    point_grid,
    remove_small,
    stability,
    suppress,
    touches_crop,
)
from .system import System

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` with numbers of points."""


@dataclass(frozen=True)
class AutomaticOptions:
    """How the grid is laid and what is kept; the defaults are SAM's.

    Attributes:
        points_per_side: Points along each side of the grid.
        points_at_once: Points in one call of the decoder.
        quality_threshold: Least predicted IoU of a mask. None: the prediction is neither a filter nor the ranking, as
            it must be for decoders whose quality head was not trained; masks are ranked by stability then.
        stability_threshold: Least IoU of the masks cut at `+stability_offset` and at `-stability_offset`.
        stability_offset: In logits.
        nms_threshold: Of two masks whose boxes overlap more than this (IoU), the lower ranked goes.
        crop_layers: Further layers of crops; layer n has 2^n x 2^n.
        crop_nms_threshold: As `nms_threshold`, between crops; masks of smaller crops win.
        crop_overlap: Overlap of the crops in layer 1, as a share of the image's short side.
        crop_points_divisor: In layer n there are `points_per_side / divisor^n` points along a side.
        min_area: Holes and islands of fewer pixels are removed from the masks; 0 leaves them.

    Raises:
        UsageError: A value out of its range.
    """

    points_per_side: int = 32
    points_at_once: int = 64
    quality_threshold: float | None = 0.88
    stability_threshold: float = 0.95
    stability_offset: float = 1.0
    nms_threshold: float = 0.7
    crop_layers: int = 0
    crop_nms_threshold: float = 0.7
    crop_overlap: float = 512 / 1500
    crop_points_divisor: int = 1
    min_area: int = 0

    def __post_init__(self) -> None:
        least = {"points_per_side": 1, "points_at_once": 1, "crop_layers": 0, "crop_points_divisor": 1, "min_area": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least {value}")
        for name in ("stability_threshold", "nms_threshold", "crop_nms_threshold", "crop_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0..1")
        if not self.stability_offset > 0:
            raise UsageError(f"stability_offset is {self.stability_offset}; expected a positive number")

    def points(self, layer: int) -> npt.NDArray[np.float32]:
        """The grid of a layer, `[n, 2]` as (x, y), 0..1 across a crop."""
        return point_grid(max(1, self.points_per_side // self.crop_points_divisor**layer))


class AutomaticMask(NamedTuple):
    """One thing that was found.

    Attributes:
        rle: The mask at the image's size, as COCO's run lengths.
        box: Tight box (x0, y0, x1, y1) in the image's pixels, the last pixel inclusive.
        area: Pixels of the mask.
        quality: Mask IoU that the decoder expects; see `AutomaticOptions.quality_threshold`.
        stability: 0..1.
        point: The prompt (x, y) in the image's pixels.
        crop: The crop it was found in, (x0, y0, x1, y1), the last pixel exclusive.
    """

    rle: Rle
    box: Box
    area: int
    quality: float
    stability: float
    point: tuple[float, float]
    crop: Box

    @property
    def mask(self) -> Bools:
        """The mask itself, `[H, W]`."""
        return decode_mask(self.rle)


class MaskGenerator:
    """Masks of everything in an image.

    Args:
        predictor: Encodes and decodes; it forgets its image.
        options: None: `default_options` of the predictor's system.
    """

    def __init__(self, predictor: Predictor, options: AutomaticOptions | None = None) -> None:
        self.predictor = predictor
        self.options = default_options(predictor.system) if options is None else options

    def generate(self, image: npt.NDArray[np.uint8], *, progress: Progress | None = None) -> list[AutomaticMask]:
        """Find everything in an image.

        Args:
            image: `[H, W, 3]` RGB uint8.
            progress: Told about the points that are done.

        Returns:
            Masks without empty ones, best ranked first within a crop, small crops first.

        Raises:
            UsageError: Not an RGB uint8 image.
        """
        options = self.options
        # A wrong image is refused here already, before its shape is read.
        self.predictor.set_image(image)
        height, width = image.shape[:2]
        crops = crop_boxes(height, width, layers=options.crop_layers, overlap=options.crop_overlap)
        total, done = sum(len(options.points(layer)) for _, layer in crops), 0
        found: list[AutomaticMask] = []
        for crop, layer in crops:
            if layer:
                x0, y0, x1, y1 = crop
                self.predictor.set_image(image[y0:y1, x0:x1])
            candidates: list[AutomaticMask] = []
            for points in self._batches(crop, layer):
                candidates += self._segment(points, crop, (height, width))
                done += len(points)
                if progress is not None:
                    progress(done, total)
            kept = suppress([mask.box for mask in candidates], list(map(self._rank, candidates)), options.nms_threshold)
            found += [candidates[index] for index in kept]
        self.predictor.reset()
        if len(crops) > 1:
            smallness = [1 / ((x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in (mask.crop for mask in found)]
            kept = suppress([mask.box for mask in found], smallness, options.crop_nms_threshold)
            found = [found[index] for index in kept]
        return self._cleaned(found) if options.min_area else found

    def _batches(self, crop: Box, layer: int) -> Iterator[Tensor]:
        x0, y0, x1, y1 = crop
        points = torch.from_numpy(self.options.points(layer) * np.asarray([x1 - x0, y1 - y0], np.float32))
        return iter(points.split(self.options.points_at_once))

    def _segment(self, points: Tensor, crop: Box, size: tuple[int, int]) -> Iterator[AutomaticMask]:
        options, (x0, y0, x1, y1) = self.options, crop
        logits, quality = self.predictor.decode(
            points=points[:, None],
            labels=torch.ones(len(points), 1),
            multimask=several_masks(self.predictor.system),
        )
        source = torch.arange(len(points)).repeat_interleave(quality.shape[1])
        logits, quality = logits.flatten(0, 1), quality.flatten()
        if options.quality_threshold is not None:
            good = quality > options.quality_threshold
            logits, quality, source = logits[good], quality[good], source[good.cpu()]
        for at, restored in self.predictor.restored(logits):
            steady = stability(restored, options.stability_offset)
            masks = (restored > 0).cpu().numpy()
            facts = zip(masks, quality[at].tolist(), steady.tolist(), points[source[at]].tolist(), strict=True)
            for mask, score, steadiness, (x, y) in facts:
                if steadiness < options.stability_threshold or not mask.any():
                    continue
                left, top, right, bottom = mask_box(mask)
                box = (left + x0, top + y0, right + x0, bottom + y0)
                if touches_crop(box, crop, height=size[0], width=size[1]):
                    continue
                whole = np.pad(mask, ((y0, size[0] - y1), (x0, size[1] - x1)))
                yield AutomaticMask(
                    rle=encode_mask(whole),
                    box=box,
                    area=int(mask.sum()),
                    quality=score,
                    stability=steadiness,
                    point=(x + x0, y + y0),
                    crop=crop,
                )

    def _rank(self, mask: AutomaticMask) -> float:
        return mask.stability if self.options.quality_threshold is None else mask.quality

    def _cleaned(self, found: list[AutomaticMask]) -> list[AutomaticMask]:
        """Without small holes and islands; of masks that became alike, those that were clean before stay."""
        options, cleaned, untouched = self.options, [], []
        for candidate in found:
            mask, filled = remove_small(candidate.mask, options.min_area, "holes")
            mask, dropped = remove_small(mask, options.min_area, "islands")
            changed = filled or dropped
            cleaned.append(
                candidate._replace(rle=encode_mask(mask), box=mask_box(mask), area=int(mask.sum()))
                if changed
                else candidate
            )
            untouched.append(float(not changed))
        kept = suppress(
            [mask.box for mask in cleaned], untouched, max(options.nms_threshold, options.crop_nms_threshold)
        )
        return [cleaned[index] for index in sorted(kept)]


def default_options(system: System) -> AutomaticOptions:
    """SAM's options; without predicted quality where the decoder keeps one mask token.

    That is RWKV-SAM's decoder, and its training leaves the quality head unsupervised.
    """
    return AutomaticOptions() if several_masks(system) else AutomaticOptions(quality_threshold=None)


def several_masks(system: System) -> bool:
    """Whether the decoder has mask tokens for `multimask=True`."""
    return not system.mask_decoder.single_mask
