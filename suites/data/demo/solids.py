"""Shapes with an inside: blobs, leaves, gears, plates with holes."""

from __future__ import annotations

import cv2
import numpy as np

from .noise import Generator, fractal
from .pen import Pen, Points, circle, ellipse, polar, smooth


def outline(rng: Generator, roughness: float, corners: int = 240) -> Points:
    """A closed fractal outline inside the unit circle, `[corners, 2]`."""
    turn = np.arange(corners) * (2 * np.pi / corners)
    radii = np.ones(corners)
    for wave in range(2, 48):
        fade = wave**-1.1 if wave > 4 else 0.35
        radii += roughness * fade * rng.uniform(-1, 1) * np.sin(wave * turn + rng.uniform(0, 2 * np.pi))
    radii = np.maximum(radii, 0.2)
    return polar(radii / radii.max(), turn)


def ragged(pen: Pen, rng: Generator) -> None:
    """A blob with a torn edge."""
    pen.fill(outline(rng, rng.uniform(0.4, 1.1)))


def island(pen: Pen, rng: Generator) -> None:
    """The largest land of a noise map, lakes and inlets included."""
    height, width = pen.canvas.shape
    rows, columns = np.ogrid[:height, :width]
    far = ((rows * 2 - height) ** 2 + (columns * 2 - width) ** 2) * 255 // (height * height)
    cell = width * rng.uniform(0.12, 0.3)
    land = fractal(rng, height, width, cell, 5).astype(np.int32) - far.astype(np.int32) * 3 // 4
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (land > rng.integers(20, 60)).astype(np.uint8), connectivity=4
    )
    if len(stats) > 1:
        pen.canvas[labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))] = 255


def plate(pen: Pen, rng: Generator) -> None:
    """A plate with round or many-cornered holes."""
    corners = int(rng.integers(3, 9))
    pen.fill(smooth(circle(0, 0, 0.98, corners), 2, closed=True) if rng.random() < 0.5 else outline(rng, 0.25))
    holes: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(20, 70))):
        x, y = rng.uniform(-0.75, 0.75, 2)
        radius = rng.uniform(0.05, 0.2)
        if x * x + y * y < 0.5 and all((x - a) ** 2 + (y - b) ** 2 > (radius + r + 0.04) ** 2 for a, b, r in holes):
            holes.append((x, y, radius))
            pen.fill(circle(x, y, radius, int(rng.choice([4, 6, 40]))), value=0)


def gear(pen: Pen, rng: Generator) -> None:
    """A toothed wheel with a bore and, often, windows."""
    teeth = int(rng.integers(8, 26))
    depth = rng.uniform(0.1, 0.28)
    step = 2 * np.pi / teeth
    turn = (np.arange(teeth)[:, None] * step + np.array([0.0, 0.15, 0.45, 0.6]) * step).ravel()
    pen.fill(polar(np.tile([1 - depth, 1.0, 1.0, 1 - depth], teeth), turn))
    hub = rng.uniform(0.12, 0.3)
    windows = int(rng.integers(0, 7))
    if windows > 2:
        inner, outer = hub + 0.08, 1 - depth - 0.12
        for index in range(windows):
            arc = (index + np.linspace(0.14, 0.86, 12)) * (2 * np.pi / windows)
            ring = [polar(np.full(12, outer), arc), polar(np.full(12, inner), arc[::-1])]
            pen.fill(np.concatenate(ring), value=0)
    pen.disc(0, 0, hub * 0.6, value=0)


def star(pen: Pen, rng: Generator) -> None:
    """A star of sharp or bent rays."""
    rays = int(rng.integers(4, 16))
    turn = np.arange(2 * rays) * (np.pi / rays)
    bend = np.where(np.arange(2 * rays) % 2 == 0, 0.0, rng.uniform(-0.5, 0.5) * np.pi / rays)
    long = rng.uniform(0.75, 1.0, rays)
    radii = np.stack([long, np.full(rays, rng.uniform(0.25, 0.55))], 1).ravel()
    pen.fill(polar(radii, turn + bend))


def leaf(pen: Pen, rng: Generator) -> None:
    """A serrated leaf on a stalk, some with bites along the veins."""
    along = np.linspace(0, 1, 90)
    lobes = int(rng.integers(3, 12))
    half = rng.uniform(0.3, 0.6) * np.sin(np.pi * along ** rng.uniform(0.6, 1.1))
    half *= 1 - rng.uniform(0.1, 0.55) * ((along * lobes) % 1)
    y = 0.65 - 1.65 * along
    pen.fill(np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1)[::-1]]))
    bow = rng.uniform(-0.2, 0.2)
    pen.stroke([(0, 0.7), (bow * 0.4, 0.85), (bow, 1.0)], rng.uniform(0.04, 0.08))


def crescent(pen: Pen, rng: Generator) -> None:
    """A moon, a ring segment or a horseshoe."""
    pen.disc(0, 0, 1.0)
    inner = rng.uniform(0.5, 0.85)
    pen.disc(rng.uniform(0.1, 1.1 - inner * 0.5), 0, inner, value=0)


def pebble(pen: Pen, rng: Generator) -> None:
    """A smooth or many-cornered solid."""
    if rng.random() < 0.4:
        pen.fill(ellipse(0, 0, 1.0, rng.uniform(0.5, 1.0)))
    else:
        corners = polar(rng.uniform(0.6, 1.0, 7), np.arange(7) * (2 * np.pi / 7))
        pen.fill(smooth(corners, int(rng.integers(0, 4)), closed=True))


def splash(pen: Pen, rng: Generator) -> None:
    """A spill with drips that end in drops."""
    pen.fill(outline(rng, 0.5, 120) * rng.uniform(0.4, 0.6))
    for turn in np.cumsum(rng.uniform(0.2, 0.7, 14)):
        reach = rng.uniform(0.5, 0.92)
        tip = (reach * float(np.cos(turn)), reach * float(np.sin(turn)))
        pen.stroke([(0.0, 0.0), tip], rng.uniform(0.04, 0.1))
        pen.disc(*tip, rng.uniform(0.04, 0.1))
