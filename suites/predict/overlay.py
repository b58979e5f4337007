"""Masks, boxes and points drawn over a photograph, to be seen on any of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from ..data.decode import Pixels
from .prompts import Prompt

Bools = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]

LONGEST, SHORTEST = 2048, 640
FILL = 0.4
BLACK: Colour = (0, 0, 0)
FOREGROUND: Colour = (0, 214, 143)
BACKGROUND: Colour = (255, 80, 80)
COLOURS: tuple[Colour, ...] = (
    (255, 176, 0),
    (86, 200, 255),
    (240, 100, 190),
    (0, 214, 143),
    (255, 105, 60),
    (170, 140, 255),
    (240, 228, 66),
    (130, 240, 240),
)


def colour_of(number: int) -> Colour:
    """The colour of the mask of a number, from 0 on; they repeat after eight."""
    return COLOURS[number % len(COLOURS)]


class Overlay:
    """A picture in the making.

    It is the image, scaled to at most 2048 and at least 640 pixels on its longer side, so that lines of one width suit
    stamps and posters. Every line has a black edge: on an image of the line's own colour the edge is seen.

    Args:
        image: `[H, W, 3]` RGB.

    Attributes:
        canvas: The picture, `[h, w, 3]` RGB.
    """

    def __init__(self, image: Pixels) -> None:
        longer = max(image.shape[:2])
        self._scale = min(LONGEST / longer, max(1.0, SHORTEST / longer))
        self._size = (max(1, round(image.shape[1] * self._scale)), max(1, round(image.shape[0] * self._scale)))
        self._stroke = max(2, round(max(self._size) / 450))
        self.canvas: Pixels = self._scaled(image)

    def draw_mask(self, mask: Bools, colour: Colour) -> None:
        """Fill a mask `[H, W]` and draw its outline."""
        cover = self._scaled(mask.view(np.uint8) * np.uint8(255))
        x, y, width, height = cv2.boundingRect(cover)
        if not width:
            return
        place = (slice(y, y + height), slice(x, x + width))
        share = cover[place][..., None] * np.float32(FILL / 255)
        under = self.canvas[place]
        self.canvas[place] = under + share * (np.asarray(colour, np.float32) - under) + np.float32(0.5)
        # In a picture made smaller, a thin part of the mask covers little of its pixels.
        drawn = (cover > (0 if self._scale < 1 else 127)).view(np.uint8)
        lines, _ = cv2.findContours(drawn, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        self._edged(lambda paint, width: cv2.drawContours(self.canvas, lines, -1, paint, width, cv2.LINE_AA), colour)

    def draw_prompt(self, prompt: Prompt, colour: Colour) -> None:
        """Draw the box in its mask's colour, foreground points as a green plus, background points as a red minus."""
        if prompt.box is not None:
            ends = self._at(*prompt.box[:2]), self._at(*prompt.box[2:])
            self._edged(lambda paint, width: cv2.rectangle(self.canvas, *ends, paint, width), colour)
        for point, label in zip(prompt.points, prompt.labels, strict=True):
            x, y = self._at(*point)
            radius, arm = 4 * self._stroke + 1, 2 * self._stroke
            cv2.circle(self.canvas, (x, y), radius + self._stroke, BLACK, -1, cv2.LINE_AA)
            cv2.circle(self.canvas, (x, y), radius, FOREGROUND if label else BACKGROUND, -1, cv2.LINE_AA)
            cv2.line(self.canvas, (x - arm, y), (x + arm, y), BLACK, self._stroke)
            if label:
                cv2.line(self.canvas, (x, y - arm), (x, y + arm), BLACK, self._stroke)

    def draw_number(self, number: int, corner: tuple[float, float], colour: Colour) -> None:
        """Write a number above a mask's upper left corner, or in it at the picture's edge, in its colour on black."""
        font, size, pad = cv2.FONT_HERSHEY_DUPLEX, 0.1 + 0.15 * self._stroke, self._stroke
        thick = max(1, self._stroke // 3)
        (width, height), _ = cv2.getTextSize(str(number), font, size, thick)
        across, down = width + 2 * pad, height + 2 * pad
        x, y = self._at(*corner)
        x = max(0, min(x, self._size[0] - across))
        y = y - down if y >= down else max(0, min(y, self._size[1] - down))
        cv2.rectangle(self.canvas, (x, y), (x + across, y + down), BLACK, -1)
        cv2.putText(self.canvas, str(number), (x + pad, y + pad + height), font, size, colour, thick, cv2.LINE_AA)

    def _edged(self, draw: Callable[[Colour, int], object], colour: Colour) -> None:
        draw(BLACK, self._stroke + 2 * (1 + self._stroke // 4))
        draw(colour, self._stroke)

    def _scaled(self, pixels: Pixels) -> Pixels:
        way = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR
        return np.ascontiguousarray(cv2.resize(pixels, self._size, interpolation=way), dtype=np.uint8)

    def _at(self, x: float, y: float) -> tuple[int, int]:
        across, down = (round(value * self._scale) for value in (x, y))
        return max(0, min(across, self._size[0] - 1)), max(0, min(down, self._size[1] - 1))
