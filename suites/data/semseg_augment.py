"""Training transforms of semantic segmentation, as mmsegmentation's ADE20K recipes have them.

Resize by a random ratio, crop without letting one class fill the crop, flip, photometric distortion, pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ...errors import UsageError
from .decode import Pixels
from .normalise import Floats, normalise
from .semseg_classes import IGNORED

Size = tuple[int, int]

_TRIES = 10
_BRIGHTNESS = 32.0
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = 18


@dataclass(frozen=True)
class SemanticAugment:
    """What happens to a training sample.

    Attributes:
        scale: Longest and shortest side in pixels that an image is fitted to, its aspect kept, before the ratio.
        ratio: Range of the random resize ratio.
        crop: Side of the square crop; what does not fill it is padded: the image with zeros after normalisation, the
            classes with 255.
        largest_class: Crops of which one class takes a larger share are drawn again, up to ten times.
        flip: Probability of a horizontal flip.
        distort: Whether to change brightness, contrast, saturation and hue.
    """

    scale: Size = (2048, 512)
    ratio: tuple[float, float] = (0.5, 2.0)
    crop: int = 512
    largest_class: float = 0.75
    flip: float = 0.5
    distort: bool = True

    def __post_init__(self) -> None:
        long, short = self.scale
        low, high = self.ratio
        if not 1 <= short <= long or not 0 < low <= high or self.crop < 1:
            raise UsageError(f"scale {self.scale}, ratio {self.ratio}, crop {self.crop} cannot be")
        if not 0 < self.largest_class <= 1 or not 0 <= self.flip <= 1:
            raise UsageError(f"largest_class is {self.largest_class}, flip {self.flip}; expected values from 0 to 1")


class SemanticSample(NamedTuple):
    """One sample: image `[3, S, S]` float32 normalised, classes `[S, S]` uint8 with 255 where nothing counts."""

    image: Floats
    classes: Pixels


def fitted_size(height: int, width: int, scale: tuple[float, float]) -> Size:
    """Height and width of an image whose sides are to fit a longest and a shortest side, aspect kept."""
    long, short = scale
    factor = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def fitted(image: Pixels, scale: tuple[float, float], *, nearest: bool = False) -> Pixels:
    """Resize an image or a map of classes so, bilinear or by nearest neighbours."""
    height, width = fitted_size(image.shape[0], image.shape[1], scale)
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def augment(rng: np.random.Generator, image: Pixels, classes: Pixels, options: SemanticAugment) -> SemanticSample:
    """Make a training sample.

    Args:
        rng: The sample's own random stream.
        image: RGB, `[H, W, 3]`.
        classes: Class numbers, `[H, W]`, 255 where nothing counts.
        options: What to do.
    """
    ratio = rng.uniform(*options.ratio)
    scale = (max(1.0, options.scale[0] * ratio), max(1.0, options.scale[1] * ratio))
    image, classes = fitted(image, scale), fitted(classes, scale, nearest=True)
    window = _crop(rng, classes, options)
    image, classes = image[window], classes[window]
    if rng.random() < options.flip:
        image, classes = image[:, ::-1], classes[:, ::-1]
    if options.distort:
        image = distorted(rng, np.ascontiguousarray(image))
    canvas = np.zeros((3, options.crop, options.crop), np.float32)
    numbers = np.full((options.crop, options.crop), IGNORED, np.uint8)
    height, width = classes.shape
    canvas[:, :height, :width] = normalise(np.ascontiguousarray(image)).transpose(2, 0, 1)
    numbers[:height, :width] = classes
    return SemanticSample(canvas, numbers)


def _crop(rng: np.random.Generator, classes: Pixels, options: SemanticAugment) -> tuple[slice, slice]:
    height, width = classes.shape
    side = options.crop
    for _ in range(_TRIES + 1):
        top, left = (int(rng.integers(0, max(0, length - side) + 1)) for length in (height, width))
        window = slice(top, top + side), slice(left, left + side)
        counts = np.bincount(classes[window].ravel(), minlength=IGNORED + 1)[:IGNORED]
        shown = counts[counts > 0]
        if options.largest_class >= 1 or (len(shown) > 1 and shown.max() < options.largest_class * shown.sum()):
            break
    return window


def distorted(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Brightness, contrast, saturation and hue of an RGB image, each changed with probability one half."""
    contrast_first = rng.random() < 0.5
    if rng.random() < 0.5:
        image = _linear(image, shift=rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
    if contrast_first:
        image = _contrast(rng, image)
    image = _colours(rng, image)
    return image if contrast_first else _contrast(rng, image)


def _contrast(rng: np.random.Generator, image: Pixels) -> Pixels:
    return _linear(image, gain=rng.uniform(*_CONTRAST)) if rng.random() < 0.5 else image


def _colours(rng: np.random.Generator, image: Pixels) -> Pixels:
    saturation = rng.uniform(*_SATURATION) if rng.random() < 0.5 else 1.0
    hue = int(rng.integers(-_HUE, _HUE)) if rng.random() < 0.5 else 0
    if saturation == 1.0 and hue == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = _linear(np.asarray(hsv[..., 1], np.uint8), gain=saturation)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + hue) % 180  # OpenCV's hues are 0..179
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _linear(image: Pixels, *, gain: float = 1.0, shift: float = 0.0) -> Pixels:
    levels = np.clip(np.arange(256) * gain + shift, 0, 255).astype(np.uint8)
    return levels[image]
