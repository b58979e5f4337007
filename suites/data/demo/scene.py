"""A scene: textured, overlapping objects on textured ground, with the exact visible mask of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from .noise import Generator, fractal
from .pen import Plane
from .shapes import FAMILIES, draw_shape
from .textures import Colour, Image, distinct_palette, mixed, paint, palette

_SMALLEST = 64
_TWIN_BOXES = 0.55


@dataclass
class Scene:
    """A drawing in progress and its result.

    Attributes:
        image: RGB, `[H, W, 3]` uint8.
        labels: 0 for the ground, else the number of the visible object, `[H, W]` uint8.
        families: Shape family of object 1, 2, ...
    """

    image: Image
    labels: Plane
    families: list[str] = field(default_factory=list)
    full_areas: list[int] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)

    @property
    def short_side(self) -> int:
        """Pixels of the shorter side."""
        return int(min(self.labels.shape))


def new_scene(rng: Generator, height: int, width: int) -> Scene:
    """Ground of one to three textures at two scales, with clutter."""
    side = min(height, width)
    base = palette(rng, rng.uniform(25, 70))
    parts = [paint(rng, height, width, base, rng.uniform(0.015, 0.12) * side)]
    for _ in range(int(rng.integers(0, 3))):
        near = palette(rng, rng.uniform(20, 60))
        table = (base.table.astype(np.uint16) + near.table.astype(np.uint16)) // 2
        parts.append(
            paint(rng, height, width, near._replace(table=table.astype(np.uint8)), rng.uniform(0.02, 0.15) * side)
        )
    scene = Scene(mixed(rng, height, width, parts, side * rng.uniform(0.2, 0.7)), np.zeros((height, width), np.uint8))
    scene.colours.append(np.asarray(cv2.mean(scene.image)[:3]))
    _clutter(rng, scene)
    return scene


def _clutter(rng: Generator, scene: Scene) -> None:
    height, width = scene.labels.shape
    for _ in range(int(rng.integers(10, 60))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        shade = scene.image[y, x].astype(int) + rng.integers(-45, 46, 3)
        colour = tuple(int(value) for value in np.clip(shade, 0, 255))
        reach = scene.short_side // 12
        if rng.random() < 0.5:
            end = (x + int(rng.integers(-reach, reach + 1)), y + int(rng.integers(-reach, reach + 1)))
            cv2.line(scene.image, (x, y), end, colour, int(rng.integers(1, 4)), cv2.LINE_8)
        else:
            cv2.circle(scene.image, (x, y), int(rng.integers(1, max(3, reach // 3))), colour, cv2.FILLED, cv2.LINE_8)


def add_object(
    rng: Generator,
    scene: Scene,
    size: tuple[float, float],
    *,
    keep: float = 0.5,
    inside: float = 0.85,
    tries: int = 4,
    families: Sequence[str] = tuple(FAMILIES),
) -> bool:
    """Put one object on top of the others.

    Args:
        rng: The scene's random stream.
        scene: Drawn into.
        size: Range of the diameter as a share of the short side.
        keep: Share of its full area that every object below must keep.
        inside: Share of the object's box that must lie in the image.
        tries: Attempts at a shape and a place.
        families: What to choose the shape from.

    Returns:
        Whether a place was found.
    """
    for _ in range(tries):
        family = families[int(rng.integers(len(families)))]
        patch = draw_shape(rng, family, rng.uniform(*size) * scene.short_side)
        window = _place(rng, scene, patch.shape, inside)
        if window is None:
            continue
        top, left, rows, columns = window
        height, width = scene.labels.shape
        y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + rows), min(width, left + columns)
        coverage = patch[y0 - top : y1 - top, x0 - left : x1 - left]
        region = (slice(y0, y1), slice(x0, x1))
        mask = coverage >= 128
        if _acceptable(scene, mask, region, keep):
            _paint_object(rng, scene, coverage, region)
            scene.families.append(family)
            scene.full_areas.append(int(mask.sum()))
            scene.labels[region][mask] = len(scene.families)
            return True
    return False


def _place(rng: Generator, scene: Scene, shape: tuple[int, ...], inside: float) -> tuple[int, int, int, int] | None:
    (height, width), (rows, columns) = scene.labels.shape, shape
    if rows < 8 or columns < 8 or rows * inside > height or columns * inside > width:
        return None
    over_y, over_x = round(rows * (1 - inside) / 2), round(columns * (1 - inside) / 2)
    top = int(rng.integers(-over_y, max(1, height - rows + over_y + 1)))
    left = int(rng.integers(-over_x, max(1, width - columns + over_x + 1)))
    return top, left, rows, columns


def _acceptable(scene: Scene, mask: npt.NDArray[np.bool_], region: tuple[slice, slice], keep: float) -> bool:
    if int(mask.sum()) < _SMALLEST:
        return False
    if not scene.families:
        return True
    covered = np.bincount(scene.labels[region][mask], minlength=len(scene.families) + 1)
    visible = np.bincount(scene.labels.ravel(), minlength=len(scene.families) + 1)
    left = (visible - covered)[1:]
    if np.any(left < np.maximum(keep * np.array(scene.full_areas), _SMALLEST)):
        return False
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    box = (x + region[1].start, y + region[0].start, width, height)
    return all(
        _box_iou(box, cv2.boundingRect((scene.labels == number).astype(np.uint8))) < _TWIN_BOXES
        for number in np.flatnonzero(covered[1:]) + 1
    )


def _box_iou(one: Sequence[int], other: Sequence[int]) -> float:
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    tall = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, tall)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def _paint_object(rng: Generator, scene: Scene, coverage: Plane, region: tuple[slice, slice]) -> None:
    height, width = coverage.shape
    colours = distinct_palette(rng, rng.uniform(15, 65), scene.colours, tries=4)
    texture = paint(rng, height, width, colours, rng.uniform(0.03, 0.25) * max(height, width))
    scene.colours.append(colours.mean)
    if rng.random() < 0.5:
        light = fractal(rng, height, width, max(height, width) * 0.7, 2).astype(np.uint16) // 3 + 170
        texture = ((texture.astype(np.uint16) * light[..., None]) >> 8).astype(np.uint8)
    if rng.random() < 0.4:
        _cast_shadow(rng, scene, coverage, region)
    ground = scene.image[region].astype(np.uint16)
    share = coverage.astype(np.uint16)
    share += share >> 7
    share = share[..., None]
    scene.image[region] = ((ground * (256 - share) + texture.astype(np.uint16) * share) >> 8).astype(np.uint8)


def _cast_shadow(rng: Generator, scene: Scene, coverage: Plane, region: tuple[slice, slice]) -> None:
    reach = max(2, scene.short_side // 60)
    dy, dx = (int(step) for step in rng.integers(-reach, reach + 1, 2))
    moved = np.zeros_like(coverage)
    height, width = coverage.shape
    moved[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = coverage[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    soft = cv2.blur(moved, (reach, reach)).astype(np.uint16)[..., None] >> 1
    scene.image[region] = ((scene.image[region].astype(np.uint16) * (256 - soft)) >> 8).astype(np.uint8)


def finish(rng: Generator, scene: Scene) -> None:
    """What a camera adds: uneven light, a slight blur, sensor noise."""
    height, width = scene.labels.shape
    picture = scene.image
    if rng.random() < 0.5:
        light = fractal(rng, height, width, max(height, width) * 0.9, 1).astype(np.uint16) // 3 + 171
        picture = ((picture.astype(np.uint16) * light[..., None]) >> 8).astype(np.uint8)
    if rng.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)
    strength = int(rng.integers(0, 9))
    if strength:
        noise = rng.integers(-strength, strength + 1, (height, width, 1), dtype=np.int16)
        picture = np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    scene.image = picture
