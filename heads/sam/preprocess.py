"""SAM's geometry: resize the longest side, normalise, pad; and the way back from logits to the original image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from ...errors import UsageError

Resampling = Literal["pil", "cv2"]
Geometry = Literal["pad", "stretch"]


@dataclass(frozen=True)
class Framing:
    """Where an image lies in its padded frame: top left, the rest is padding. Sizes are (height, width) in pixels.

    Attributes:
        original: Size of the image as it was read.
        resized: Its size in the frame.
        frame: Size of the frame.
        geometry: `stretch` where both axes were scaled to the frame on their own, as EfficientSAM does.
        enlarging: How the logits of a stretched image are brought back, EfficientSAM's way unless set.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    frame: tuple[int, int]
    geometry: Geometry = "pad"
    enlarging: Literal["bicubic", "bilinear"] = "bicubic"

    def to_frame(self, points: Tensor) -> Tensor:
        """Scale `[..., 2]` points as (x, y) from the original image into the frame; the axes' ratios may differ."""
        ratios = [self.resized[axis] / self.original[axis] for axis in (1, 0)]
        return points * torch.tensor(ratios, dtype=points.dtype, device=points.device)

    def boxes_to_frame(self, boxes: Tensor) -> Tensor:
        """Scale `[..., 4]` boxes as (x0, y0, x1, y1) likewise."""
        return self.to_frame(boxes.reshape(*boxes.shape[:-1], 2, 2)).flatten(-2)

    def to_original(self, logits: Tensor) -> Tensor:
        """Bring mask logits back: bilinear to the frame, crop the padding, bilinear to the original size.

        Stretched ones go to the original size at once.

        Args:
            logits: `[N, M, h, w]` that cover the frame at any resolution.

        Returns:
            Logits `[N, M, H, W]` at the original size; a mask is where they exceed 0.
        """
        if self.geometry == "stretch":
            return F.interpolate(logits.float(), size=self.original, mode=self.enlarging, align_corners=False)
        logits = F.interpolate(logits.float(), size=self.frame, mode="bilinear", align_corners=False)
        logits = logits[..., : self.resized[0], : self.resized[1]]
        return F.interpolate(logits, size=self.original, mode="bilinear", align_corners=False)


def resized_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after scaling the longest side to `size`, rounded half up, at least one pixel."""
    scale = size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(
    image: npt.NDArray[np.uint8], height: int, width: int, *, resampling: Resampling = "pil"
) -> npt.NDArray[np.uint8]:
    """Resize `[H, W, 3]` bilinearly.

    Args:
        image: RGB.
        height: New height.
        width: New width.
        resampling: `pil` filters when it shrinks, as SAM's predictor does; `cv2` samples four neighbours.
    """
    if resampling == "pil":
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    if resampling == "cv2":
        import cv2

        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    raise UsageError(f"unknown resampling '{resampling}'; expected pil or cv2")


def normalize(
    image: npt.NDArray[np.uint8],
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """`[H, W, 3]` RGB of 0..255 to float32 `[3, H, W]`; `mean` and `std` are in 0..1 units."""
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    shift, scale = (255 * torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels - shift) / scale


def frame_image(
    image: npt.NDArray[np.uint8],
    *,
    size: int = 1024,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    resampling: Resampling = "pil",
) -> tuple[Tensor, Framing]:
    """Resize the longest side to `size`, normalise, and pad with zeros right and below to a square.

    Args:
        image: `[H, W, 3]` RGB uint8.
        size: Side of the frame in pixels.
        mean: Per-channel mean in 0..1 units.
        std: Per-channel standard deviation, likewise.
        resampling: As for `resize`.

    Returns:
        `[3, size, size]` and where the image lies in it.

    Raises:
        UsageError: Not an RGB uint8 image.
    """
    _check_image(image)
    original = (image.shape[0], image.shape[1])
    height, width = resized_size(*original, size)
    pixels = normalize(resize(image, height, width, resampling=resampling), mean=mean, std=std)
    padded = F.pad(pixels, (0, size - width, 0, size - height))
    return padded, Framing(original=original, resized=(height, width), frame=(size, size))


def stretch_pixels(
    pixels: Tensor,
    *,
    size: int = 1024,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """Stretch `[B, 3, H, W]` RGB in 0..1 to `[B, 3, size, size]`, bilinear without a filter, and normalise."""
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)
    shift, scale = (pixels.new_tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels - shift) / scale


@dataclass(frozen=True)
class Preprocessing:
    """How a system wants its images, and so how its logits go back.

    Attributes:
        geometry: `pad`: longest side to the frame, the rest is padding (SAM); `stretch`: both sides to the frame
            (EfficientSAM).
        resampling: As for `resize`; stretching has its own.
        mean: Per-channel mean in 0..1 units.
        std: Per-channel standard deviation, likewise.
    """

    geometry: Geometry = "pad"
    resampling: Resampling = "pil"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def frame(self, image: npt.NDArray[np.uint8], *, size: int = 1024) -> tuple[Tensor, Framing]:
        """Bring an image into the frame.

        Args:
            image: `[H, W, 3]` RGB uint8.
            size: Side of the frame in pixels.

        Returns:
            `[3, size, size]`, normalised, and where the image lies in it; its `to_original` is the way back.

        Raises:
            UsageError: Not an RGB uint8 image.
        """
        if self.geometry == "pad":
            return frame_image(image, size=size, mean=self.mean, std=self.std, resampling=self.resampling)
        _check_image(image)
        pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
        original = (image.shape[0], image.shape[1])
        framing = Framing(original=original, resized=(size, size), frame=(size, size), geometry="stretch")
        return stretch_pixels(pixels[None], size=size, mean=self.mean, std=self.std)[0], framing


def _check_image(image: npt.NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(f"the image is {image.dtype} {list(image.shape)}, expected RGB uint8 [H, W, 3]")
