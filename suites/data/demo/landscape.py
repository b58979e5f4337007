"""Drawn landscapes with a class for each pixel: sky and hills above, ground below, things that stand on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from .noise import Field, Generator, bricks, checks, clouds, fractal, gradient, marble, speckles, stripes

Pixels = npt.NDArray[np.uint8]
Corners = list[tuple[float, float]]

SIDES = (128, 192)
UNLABELLED = 0
_UNLABELLED_SHARE = 0.3


class Look(NamedTuple):
    """How a class is painted.

    Attributes:
        id: Its number in ADE20K.
        colours: Base colours to choose from, RGB.
        field: Pattern.
        contrast: How far the pattern moves the colour, in grey levels.
        period: Size of the pattern in pixels.
    """

    id: int
    colours: tuple[tuple[int, int, int], ...]
    field: Callable[[Generator, int, int, float], Field]
    contrast: int
    period: float


LOOKS: dict[str, Look] = {
    "building": Look(2, ((150, 120, 105), (170, 165, 150), (120, 125, 140)), checks, 45, 9),
    "sky": Look(3, ((130, 180, 235), (190, 205, 225), (235, 175, 140)), clouds, 25, 24),
    "tree": Look(5, ((45, 95, 40), (80, 110, 35)), speckles, 40, 10),
    "road": Look(7, ((95, 95, 100), (75, 75, 80)), gradient, 12, 20),
    "grass": Look(10, ((110, 165, 60), (140, 170, 80)), speckles, 25, 5),
    "person": Look(13, ((200, 60, 120), (230, 130, 30)), gradient, 20, 10),
    "mountain": Look(17, ((120, 110, 130), (140, 140, 165)), marble, 30, 14),
    "car": Look(21, ((190, 30, 30), (30, 60, 180), (235, 235, 235)), gradient, 15, 12),
    "water": Look(22, ((50, 110, 150), (70, 130, 135)), stripes, 30, 7),
    "house": Look(26, ((225, 205, 170), (215, 180, 185)), bricks, 35, 8),
    "rock": Look(35, ((115, 105, 95), (90, 90, 85)), marble, 45, 6),
    "sand": Look(47, ((225, 200, 140), (205, 175, 115)), fractal, 20, 5),
}
GROUNDS = ("grass", "sand", "water")


class Landscape:
    """A drawing in progress.

    Attributes:
        image: RGB, `[H, W, 3]`.
        ids: ADE20K's number of each pixel, `[H, W]`; 0 where there is none.
    """

    def __init__(self, height: int, width: int) -> None:
        self.image: Pixels = np.zeros((height, width, 3), np.uint8)
        self.ids: Pixels = np.zeros((height, width), np.uint8)

    def fill(self, rng: Generator, name: str, corners: Corners) -> None:
        """Paint a polygon, corners `(x, y)` in pixels, as one class."""
        mask = np.zeros(self.ids.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(np.asarray(corners)).astype(np.int32)], 1, cv2.LINE_8)
        self.paint(rng, name, mask.astype(bool))

    def paint(self, rng: Generator, name: str, mask: npt.NDArray[np.bool_]) -> None:
        """Paint the pixels of a mask `[H, W]` as one class."""
        look = LOOKS[name]
        base = np.array(look.colours[rng.integers(len(look.colours))]) + rng.integers(-15, 16, 3)
        height, width = self.ids.shape
        field = look.field(rng, height, width, look.period * rng.uniform(0.8, 1.3)).astype(np.int32)
        shade = (field[..., None] - 128) * look.contrast // 128
        self.image[mask] = np.clip(base + shade, 0, 255).astype(np.uint8)[mask]
        self.ids[mask] = look.id


def draw_landscape(rng: Generator) -> Landscape:
    """One scene: its grounds, horizon, things and light vary."""
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    scene = Landscape(height, width)
    horizon = int(height * rng.uniform(0.3, 0.55))
    rows = np.arange(height)[:, None].repeat(width, 1)
    scene.paint(rng, "sky", rows < horizon)
    if rng.random() < 0.6:
        ridge = fractal(rng, 1, width, width * 0.4, 4)[0].astype(np.int32) * horizon * 6 // (255 * 10)
        scene.paint(rng, "mountain", (rows >= horizon - ridge) & (rows < horizon))
    near, far = rng.permutation(len(GROUNDS))[:2]
    scene.paint(rng, GROUNDS[far], rows >= horizon)
    shore = fractal(rng, 1, width, width * 0.5, 3)[0].astype(np.int32) * height // (255 * 8)
    scene.paint(rng, GROUNDS[near], rows >= horizon + height // 12 + shore)
    if rng.random() < 0.6:
        _road(rng, scene, horizon)
    for draw, most in ((_building, 3), (_house, 2), (_tree, 4), (_rock, 3), (_car, 2), (_person, 3)):
        for _ in range(int(rng.integers(0, most + 1))):
            draw(rng, scene, horizon)
    _finish(rng, scene)
    return scene


def _place(rng: Generator, scene: Landscape, horizon: int) -> tuple[float, float, float]:
    """Where a thing stands, and the size in pixels that it has there; nearer is lower and larger."""
    height, width = scene.ids.shape
    depth = rng.uniform(0.05, 1.0)
    return rng.uniform(0, width), horizon + depth * (height - horizon) * 0.95, height * (0.1 + 0.22 * depth)


def _road(rng: Generator, scene: Landscape, horizon: int) -> None:
    height, width = scene.ids.shape
    far, near = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * width
    half = width * rng.uniform(0.12, 0.3)
    scene.fill(rng, "road", [(far - 4, horizon), (far + 4, horizon), (near + half, height), (near - half, height)])


def _building(rng: Generator, scene: Landscape, horizon: int) -> None:
    height, width = scene.ids.shape
    left, wide, tall = rng.uniform(-0.1, 0.9) * width, width * rng.uniform(0.12, 0.3), height * rng.uniform(0.2, 0.5)
    bottom = horizon + height * rng.uniform(0.0, 0.08)
    scene.fill(rng, "building", _box(left, bottom - tall, left + wide, bottom))


def _house(rng: Generator, scene: Landscape, horizon: int) -> None:
    x, y, size = _place(rng, scene, horizon)
    scene.fill(rng, "house", [*_box(x - size, y - size, x + size, y), (x - size, y - size)])
    scene.fill(rng, "house", [(x - 1.2 * size, y - size), (x, y - 1.8 * size), (x + 1.2 * size, y - size)])


def _tree(rng: Generator, scene: Landscape, horizon: int) -> None:
    x, y, size = _place(rng, scene, horizon)
    scene.fill(rng, "tree", _box(x - size / 12, y - size, x + size / 12, y))
    for _ in range(4):
        middle = x + rng.uniform(-0.3, 0.3) * size, y - rng.uniform(0.9, 1.5) * size
        scene.fill(rng, "tree", _round(*middle, 0.4 * size, 0.4 * size))


def _rock(rng: Generator, scene: Landscape, horizon: int) -> None:
    x, y, size = _place(rng, scene, horizon)
    corners = _round(x, y - 0.25 * size, 0.5 * size, 0.35 * size, corners=9)
    scene.fill(rng, "rock", [(a + rng.uniform(-0.1, 0.1) * size, b) for a, b in corners])


def _car(rng: Generator, scene: Landscape, horizon: int) -> None:
    x, y, size = _place(rng, scene, horizon)
    scene.fill(rng, "car", _box(x - 0.8 * size, y - 0.5 * size, x + 0.8 * size, y - 0.12 * size))
    scene.fill(rng, "car", [*_box(x - 0.4 * size, y - 0.8 * size, x + 0.4 * size, y - 0.5 * size)])
    for side in (-0.45, 0.45):
        centre = (round(x + side * size), round(y - 0.12 * size))
        for canvas, value in ((scene.image, (25, 25, 25)), (scene.ids, (LOOKS["car"].id,))):
            cv2.circle(canvas, centre, max(1, round(0.15 * size)), value, cv2.FILLED, cv2.LINE_8)


def _person(rng: Generator, scene: Landscape, horizon: int) -> None:
    x, y, size = _place(rng, scene, horizon)
    scene.fill(rng, "person", _box(x - 0.16 * size, y - 0.75 * size, x + 0.16 * size, y))
    scene.fill(rng, "person", _round(x, y - 0.88 * size, 0.14 * size, 0.16 * size))


def _box(left: float, top: float, right: float, bottom: float) -> Corners:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _round(x: float, y: float, across: float, down: float, *, corners: int = 20) -> Corners:
    turn = np.arange(corners) * (2 * np.pi / corners)
    return [(float(a), float(b)) for a, b in zip(x + across * np.cos(turn), y + down * np.sin(turn), strict=True)]


def _finish(rng: Generator, scene: Landscape) -> None:
    """Something that no class is, in some scenes; then uneven light and sensor noise."""
    height, width = scene.ids.shape
    if rng.random() < _UNLABELLED_SHARE:
        x = int(rng.integers(0, width))
        strip = np.zeros((height, width), bool)
        strip[:, x : x + int(rng.integers(3, 9))] = True
        scene.image[strip] = rng.integers(0, 256, 3, dtype=np.uint8)
        scene.ids[strip] = UNLABELLED
    light = fractal(rng, height, width, max(height, width) * 0.8, 2).astype(np.int32) // 4 + 192
    grain = rng.integers(-6, 7, (height, width, 1))
    scene.image = np.clip(scene.image * light[..., None] // 256 + grain, 0, 255).astype(np.uint8)
