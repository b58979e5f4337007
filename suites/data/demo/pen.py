"""A pen that draws polygons and strokes on a supersampled patch and returns their anti-aliased coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating[Any]]
Plane = npt.NDArray[np.uint8]

SUPERSAMPLING = 2
_FRACTION_BITS = 4
_REACH = 1.25


class Pen:
    """Draws in the unit frame (`-1..1`, y down), turned and squeezed, on a patch of its own.

    Coordinates are rounded to 1/16 of a subpixel before OpenCV sees them, so that drawings do not depend on the last
    bit of the machine's floating-point functions.

    Args:
        diameter: Pixels that the unit frame (two units) takes in the final image.
        angle: Rotation in radians.
        squeeze: Scale of the shape's own x axis, at most 1.
    """

    def __init__(self, diameter: float, *, angle: float = 0.0, squeeze: float = 1.0) -> None:
        self.unit = diameter / 2 * SUPERSAMPLING
        side = 2 * math.ceil(self.unit * _REACH / 2) * 2
        self.canvas: Plane = np.zeros((side, side), np.uint8)
        cos, sin = math.cos(angle), math.sin(angle)
        self._matrix = np.array([[cos * squeeze, -sin], [sin * squeeze, cos]]) * self.unit
        self._centre = side / 2

    def _fixed(self, points: Points | Sequence[tuple[float, float]]) -> npt.NDArray[np.int32]:
        pixels = np.asarray(points, np.float64) @ self._matrix.T + self._centre
        return np.asarray(np.round(pixels * (1 << _FRACTION_BITS)), np.int32)

    def pixels(self, width: float) -> int:
        """Stroke width in canvas pixels, never under one pixel of the final image."""
        return max(SUPERSAMPLING, round(width * self.unit))

    def fill(self, points: Points | Sequence[tuple[float, float]], *, value: int = 255) -> None:
        """Fill a polygon `[k, 2]`; `value=0` cuts it out."""
        cv2.fillPoly(self.canvas, [self._fixed(points)], value, cv2.LINE_8, _FRACTION_BITS)

    def stroke(
        self, points: Points | Sequence[tuple[float, float]], width: float, *, closed: bool = False, value: int = 255
    ) -> None:
        """Draw a polyline `[k, 2]` of `width` units with round joints."""
        fixed = [self._fixed(points)]
        cv2.polylines(self.canvas, fixed, closed, value, self.pixels(width), cv2.LINE_8, _FRACTION_BITS)

    def disc(self, x: float, y: float, radius: float, *, value: int = 255) -> None:
        """Fill a circle."""
        self.fill(circle(x, y, radius), value=value)

    def keep_inside(self, points: Points) -> None:
        """Erase what lies outside a polygon."""
        inside = np.zeros_like(self.canvas)
        cv2.fillPoly(inside, [self._fixed(points)], 255, cv2.LINE_8, _FRACTION_BITS)
        cv2.bitwise_and(self.canvas, inside, self.canvas)

    def coverage(self) -> Plane:
        """Share of each pixel that is covered, 0..255, cropped to the drawing (`[0, 0]` when nothing was drawn)."""
        x, y, width, height = cv2.boundingRect(self.canvas)
        if width == 0:
            return np.zeros((0, 0), np.uint8)
        top, left = y - y % SUPERSAMPLING, x - x % SUPERSAMPLING
        bottom, right = (-(-(edge) // SUPERSAMPLING) * SUPERSAMPLING for edge in (y + height, x + width))
        patch = self.canvas[top:bottom, left:right]
        size = (patch.shape[1] // SUPERSAMPLING, patch.shape[0] // SUPERSAMPLING)
        return np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_AREA), np.uint8)


def circle(x: float, y: float, radius: float, corners: int = 40) -> Points:
    """Corners of a circle, `[corners, 2]`."""
    turn = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Points:
    """Corners of a turned ellipse, `[40, 2]`."""
    flat = circle(0.0, 0.0, 1.0) * (rx, ry)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(flat @ np.array([[cos, sin], [-sin, cos]]) + (x, y))


def smooth(corners: Points, rounds: int = 3, *, closed: bool = False) -> Points:
    """Cut the corners of a polyline (Chaikin), `rounds` times."""
    points = corners
    for _ in range(rounds):
        ahead = np.roll(points, -1, 0) if closed else points[1:]
        here = points if closed else points[:-1]
        cut = np.stack([0.75 * here + 0.25 * ahead, 0.25 * here + 0.75 * ahead], 1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def polar(radii: Points, turn: Points) -> Points:
    """Points at `radii` and angles `turn`, `[k, 2]`."""
    return np.stack([radii * np.cos(turn), radii * np.sin(turn)], 1)
