"""Growing shapes: trees, ferns, corals, squiggles."""

from __future__ import annotations

import math

import numpy as np

from .noise import Generator
from .pen import Pen, Points, ellipse, smooth

_THINNEST = 0.03


def tree(pen: Pen, rng: Generator) -> None:
    """A branching tree, bare or in leaf."""
    spread, bend, leafy = rng.uniform(0.3, 0.75), rng.uniform(0.05, 0.25), rng.random() < 0.4
    shrink, forks = rng.uniform(0.66, 0.8), int(rng.integers(2, 4))
    levels = 6 if forks == 2 else 4

    def grow(x: float, y: float, heading: float, length: float, width: float, level: int) -> None:
        heading += rng.uniform(-bend, bend)
        tip = (x + length * math.cos(heading), y + length * math.sin(heading))
        pen.stroke([(x, y), tip], max(width, _THINNEST))
        if level == 0:
            if leafy:
                pen.fill(ellipse(*tip, 0.09, 0.05, heading))
            return
        for fork in range(forks):
            turn = spread * (fork - (forks - 1) / 2) * 2 + rng.uniform(-0.2, 0.2)
            grow(*tip, heading + turn, length * shrink * rng.uniform(0.8, 1.15), width * 0.68, level - 1)

    grow(0.0, 1.0, -math.pi / 2, rng.uniform(0.45, 0.6), rng.uniform(0.1, 0.2), levels)


def fern(pen: Pen, rng: Generator) -> None:
    """A curved frond with leaflets on both sides."""
    bow, pairs = rng.uniform(-0.5, 0.5), int(rng.integers(7, 16))
    along = np.linspace(0, 1, pairs + 2)
    spine = np.stack([bow * np.sin(along * 2.2), 1 - 1.9 * along], 1)
    pen.stroke(spine, 0.045)
    lean, fat = rng.uniform(0.5, 1.2), rng.uniform(0.12, 0.3)
    for at, (x, y) in zip(along[1:-1], spine[1:-1], strict=True):
        long = 0.75 * math.sin(math.pi * (0.15 + 0.8 * at)) * rng.uniform(0.85, 1.1)
        for side in (-1, 1):
            heading = -math.pi / 2 + side * lean
            middle = (x + long / 2 * math.cos(heading), y + long / 2 * math.sin(heading))
            pen.fill(ellipse(*middle, long / 2, max(long * fat / 2, 0.02), heading))


def coral(pen: Pen, rng: Generator) -> None:
    """Wandering arms from one foot."""
    width = rng.uniform(0.05, 0.11)
    for arm in range(int(rng.integers(5, 11))):
        heading = -math.pi / 2 + rng.uniform(-1.2, 1.2)
        steps = np.cumsum(rng.uniform(-0.5, 0.5, 9)) + heading
        strides = np.stack([np.cos(steps), np.sin(steps)], 1) * rng.uniform(0.12, 0.22)
        walk = np.cumsum(strides, 0) + np.array([0.0, 0.9])
        pen.stroke(smooth(np.concatenate([[(0.0, 0.9)], walk]), 2), width)
        if arm % 2:
            pen.disc(float(walk[-1, 0]), float(walk[-1, 1]), width * rng.uniform(0.8, 1.6))


def ribbon(pen: Pen, rng: Generator) -> None:
    """A long curved stroke: a spiral, a Lissajous figure or a scribble."""
    along = np.linspace(0, 1, 160)
    width = rng.uniform(0.06, 0.16)
    kind = rng.integers(3)
    curve: Points
    if kind == 0:
        turn = along * 2 * np.pi * rng.uniform(1.5, 3.2)
        curve = np.stack([np.cos(turn), np.sin(turn)], 1) * (0.1 + 0.88 * along[:, None])
    elif kind == 1:
        one, other = (int(value) for value in rng.integers(1, 4, 2))
        turn = along * 2 * np.pi
        curve = 0.95 * np.stack([np.sin(one * turn + rng.uniform(0, 3)), np.sin((other + one) * turn)], 1)
    else:
        curve = smooth(rng.uniform(-0.95, 0.95, (int(rng.integers(6, 12)), 2)), 4)
    pen.stroke(curve, width)


def sprig(pen: Pen, rng: Generator) -> None:
    """A bent twig with loose leaves or berries."""
    corners = np.stack([rng.uniform(-0.45, 0.45, 5), np.linspace(1, -0.9, 5)], 1)
    twig = smooth(corners, 3)
    pen.stroke(twig, rng.uniform(0.04, 0.07))
    berries = rng.random() < 0.35
    for index in rng.integers(2, len(twig), int(rng.integers(8, 18))):
        x, y = twig[index]
        heading = rng.uniform(0, 2 * np.pi)
        long = rng.uniform(0.15, 0.3)
        tip = (x + long * math.cos(heading), y + long * math.sin(heading))
        pen.stroke([(x, y), tip], _THINNEST)
        if berries:
            pen.disc(*tip, rng.uniform(0.06, 0.12))
        else:
            pen.fill(ellipse(*tip, long * 0.75, long * 0.3, heading))
