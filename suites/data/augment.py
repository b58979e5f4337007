"""Training transforms: flip, large-scale jitter, crop or pad to a square frame, colour jitter; boxes from the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from .normalise import Floats, normalise

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class AugmentOptions:
    """What happens to a training sample.

    Attributes:
        flip: Probability of a horizontal flip.
        scale: Range of the resize ratio; at 1 the longest side fills the frame. Larger is cropped, smaller is padded.
        colour: Strength of the jitter of brightness, contrast and tint; 0 for none, 1 is strong.
        max_instances: Masks an image keeps at most, drawn at random.
        min_area: Masks with fewer pixels after the crop are dropped.
        mixed_filters: Shrink half of the images with area averaging, half with plain bilinear sampling (as the
            evaluation protocols do); otherwise always bilinear.
        pad: Grey level 0..255 around an image that does not fill the frame; None for zeros after normalisation, the
            mean colour.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.5, 2.0)
    colour: float = 0.3
    max_instances: int = 20
    min_area: int = 32
    mixed_filters: bool = True
    pad: int | None = None

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high:
            raise UsageError(f"scale range is {low}..{high}; expected 0 < low <= high")
        if not 0 <= self.flip <= 1 or self.colour < 0:
            raise UsageError(f"flip is {self.flip} and colour {self.colour}; expected a probability and 0 or more")
        if self.max_instances < 1 or self.min_area < 1:
            raise UsageError("max_instances and min_area must be at least 1")
        if self.pad is not None and not 0 <= self.pad <= 255:
            raise UsageError(f"pad is {self.pad}; expected a grey level 0..255, or none")


class TrainSample(NamedTuple):
    """One sample in the frame.

    Attributes:
        image: Normalised, `[3, S, S]` float32; zero where padded, or the normalised grey of `AugmentOptions.pad`.
        masks: `[n, S, S]` uint8, 0 or 1.
        boxes: `[n, 4]` float32, x0 y0 x1 y1 of the masks' first and last pixels.
    """

    image: Floats
    masks: Bytes
    boxes: Floats


def transform(
    rng: np.random.Generator, image: Bytes, layers: Bytes, frame: int, options: AugmentOptions
) -> TrainSample | None:
    """Make a training sample.

    Args:
        rng: The sample's own random stream.
        image: RGB, `[H, W, 3]`.
        layers: Packed masks, `[L, H, W]`, as `MaskDataset.layers` gives them.
        frame: Side S of the square frame in pixels.
        options: What to do.

    Returns:
        The sample, or None when no mask of `min_area` pixels is left.
    """
    height, width = layers.shape[1:]
    scale = rng.uniform(*options.scale) * frame / max(height, width)
    rows, columns = (min(side, max(1, round(frame / scale))) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    new_rows, new_columns = (min(frame, max(1, int(side * scale + 0.5))) for side in (rows, columns))
    flip = rng.random() < options.flip
    area = options.mixed_filters and scale < 1 and rng.random() < 0.5
    window = (slice(top, top + rows), slice(left, left + columns))

    def fitted(plane: Bytes, filtering: int) -> Bytes:
        resized = cv2.resize(plane[window], (new_columns, new_rows), interpolation=filtering)
        return np.asarray(cv2.flip(resized, 1) if flip else resized, np.uint8)

    small = np.zeros((len(layers), frame, frame), np.uint8)
    for target, layer in zip(small, layers, strict=True):
        target[:new_rows, :new_columns] = fitted(layer, cv2.INTER_NEAREST_EXACT)
    numbers = _chosen(rng, small, options)
    if not len(numbers):
        return None
    masks = np.stack([_member(small, number) for number in numbers])
    canvas = _canvas(frame, options.pad)
    pixels = normalise(fitted(image, cv2.INTER_AREA if area else cv2.INTER_LINEAR), _colours(rng, options.colour))
    canvas[:, :new_rows, :new_columns] = pixels.transpose(2, 0, 1)
    return TrainSample(canvas, masks, boxes_of(masks))


def boxes_of(masks: Bytes) -> Floats:
    """Tight boxes of masks `[n, H, W]`: x0 y0 x1 y1 of the first and last pixels, `[n, 4]`; zeros when empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        x, y, width, height = cv2.boundingRect(mask)
        if width:
            box[:] = x, y, x + width - 1, y + height - 1
    return boxes


def _canvas(frame: int, pad: int | None) -> Floats:
    if pad is None:
        return np.zeros((3, frame, frame), np.float32)
    grey = normalise(np.full((1, 1, 3), pad, np.uint8)).reshape(3, 1, 1)
    return np.tile(grey, (1, frame, frame))


def _chosen(rng: np.random.Generator, layers: Bytes, options: AugmentOptions) -> npt.NDArray[np.int64]:
    areas = np.bincount(layers.ravel(), minlength=2)
    areas[0] = 0
    numbers = np.flatnonzero(areas >= options.min_area)
    if len(numbers) > options.max_instances:
        numbers = rng.permutation(numbers)[: options.max_instances]
    return numbers


def _member(layers: Bytes, number: int) -> Bytes:
    if len(layers) == 1:
        return np.asarray(layers[0] == number).view(np.uint8)
    return np.asarray((layers == number).any(0)).view(np.uint8)


def _colours(rng: np.random.Generator, strength: float) -> npt.NDArray[np.float64] | None:
    if strength == 0:
        return None
    gain = 1 + strength * rng.uniform(-0.5, 0.5)
    tint = 1 + strength * rng.uniform(-0.35, 0.35, 3)
    lift = strength * rng.uniform(-50, 50)
    return np.asarray(np.clip((np.arange(256.0)[:, None] - 128) * gain * tint + 128 + lift, 0, 255))
