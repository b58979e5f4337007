"""From an image to a class for each pixel: resize, whole or sliding inference, back to the annotation's size."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...heads.upernet import Segmenter
from ..data.decode import Pixels
from ..data.normalise import normalise
from ..data.semseg_augment import fitted
from .recipes import Inference


@dataclass
class Predictor:
    """Predicts the class of every pixel of one image after the other, in fp32.

    Attributes:
        segmenter: In evaluation mode.
        device: Where it is.
        scale: Longest and shortest side in pixels that an image is fitted to.
        mode: `whole`, or `slide`: logits of overlapping windows are averaged.
        crop: Side of the window.
        stride: Step of the window; the last one of a row or column is moved back to end at the edge.
        seconds: Time spent in the network so far.
    """

    segmenter: Segmenter
    device: str
    scale: tuple[int, int]
    mode: Inference
    crop: int
    stride: int
    seconds: float = 0.0

    @torch.inference_mode()
    def __call__(self, image: Pixels) -> Pixels:
        """Class numbers `[H, W]` uint8 of an RGB image `[H, W, 3]`."""
        small = normalise(fitted(image, self.scale)).transpose(2, 0, 1)
        inputs = torch.from_numpy(np.ascontiguousarray(small))[None].to(self.device)
        started = time.monotonic()
        logits = self.segmenter(inputs) if self.mode == "whole" else self.slide(inputs)
        full = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        found = full[0].argmax(0).to(torch.uint8).cpu()
        self.seconds += time.monotonic() - started
        return np.asarray(found.numpy(), np.uint8)

    def slide(self, inputs: Tensor) -> Tensor:
        """Mean logits of all windows, `[1, 3, H, W] -> [1, K, H, W]`."""
        height, width = inputs.shape[-2:]
        total: Tensor | None = None
        count = inputs.new_zeros(1, 1, height, width)
        for top in window_starts(height, self.crop, self.stride):
            for left in window_starts(width, self.crop, self.stride):
                window = (..., slice(top, top + self.crop), slice(left, left + self.crop))
                logits = self.segmenter(inputs[window])
                if total is None:
                    total = inputs.new_zeros(1, logits.shape[1], height, width)
                total[window] += logits
                count[window] += 1
        assert total is not None
        return total / count


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows that cover `length`."""
    count = max(0, -(-(length - crop) // stride)) + 1
    return [max(0, min(index * stride, length - crop)) for index in range(count)]
