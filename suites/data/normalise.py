"""SAM's image normalisation, by table: one look-up a pixel does jitter, mean and standard deviation."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

Floats = npt.NDArray[np.float32]


def normalise(image: npt.NDArray[np.uint8], values: npt.NDArray[np.float64] | None = None) -> Floats:
    """Normalise an RGB image.

    Args:
        image: `[H, W, 3]`.
        values: What each channel's 0..255 stands for, `[256, 3]`, when colours are changed on the way.

    Returns:
        `(value - mean) / std`, `[H, W, 3]`.
    """
    levels = np.arange(256, dtype=np.float64)[:, None] if values is None else values
    table = ((levels - MEAN) / STD).astype(np.float32)
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)), np.float32)
