"""Shapes made of bars: lattices, webs, wheels, furniture, trusses, insects."""

from __future__ import annotations

import math

import numpy as np

from .noise import Generator
from .pen import Pen, circle, ellipse, polar, smooth
from .solids import outline


def lattice(pen: Pen, rng: Generator) -> None:
    """Bars in two or three directions inside a frame."""
    rim = (circle(0, 0, 0.95, int(rng.choice([4, 6, 40]))), outline(rng, 0.3) * 0.95)[int(rng.random() < 0.35)]
    first, spacing, width = rng.uniform(0, np.pi), rng.uniform(0.22, 0.42), rng.uniform(0.045, 0.1)
    directions = int(rng.integers(2, 4))
    for index in range(directions):
        turn = first + index * np.pi / directions
        across, along = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        for offset in np.arange(-1.1, 1.1, spacing):
            pen.stroke(np.stack([across * offset - along * 1.2, across * offset + along * 1.2]), width)
    pen.keep_inside(rim)
    pen.stroke(rim, width * 1.3, closed=True)


def web(pen: Pen, rng: Generator) -> None:
    """Spokes with polygonal rings between them."""
    spokes, rings = int(rng.integers(6, 13)), int(rng.integers(3, 6))
    turn = np.arange(spokes) * (2 * np.pi / spokes) + rng.uniform(-0.12, 0.12, spokes)
    reach = rng.uniform(0.75, 1.0, spokes)
    width = rng.uniform(0.035, 0.065)
    for ray in polar(reach, turn):
        pen.stroke([(0.0, 0.0), (float(ray[0]), float(ray[1]))], width)
    for ring in range(1, rings + 1):
        pen.stroke(polar(reach * ring / rings * rng.uniform(0.9, 1.0), turn), width, closed=True)


def rings(pen: Pen, rng: Generator) -> None:
    """Concentric rings, a chain or linked rings."""
    kind = rng.integers(3)
    if kind == 0:
        width = rng.uniform(0.08, 0.2)
        for radius in np.arange(0.98 - width / 2, 0.1, -width * rng.uniform(1.7, 2.4)):
            pen.stroke(circle(0, 0, radius), width, closed=True)
    elif kind == 1:
        count = int(rng.integers(3, 6))
        for index, x in enumerate(np.linspace(-0.75, 0.75, count)):
            slim = 0.12 if index % 2 else 0.2
            pen.stroke(ellipse(x, 0, 0.95 / count + 0.04, slim), rng.uniform(0.06, 0.1), closed=True)
    else:
        for turn in np.arange(int(rng.integers(3, 6))) * 2.4:
            pen.stroke(circle(0.45 * np.cos(turn), 0.45 * np.sin(turn), 0.48), 0.11, closed=True)


def wheel(pen: Pen, rng: Generator) -> None:
    """Rim, spokes and hub."""
    _wheel(pen, rng, 0.0, 0.0, 0.92, int(rng.integers(5, 17)))


def _wheel(pen: Pen, rng: Generator, x: float, y: float, radius: float, spokes: int) -> None:
    width = rng.uniform(0.05, 0.12) * (0.5 + radius / 2)
    pen.stroke(circle(x, y, radius), width * 1.5, closed=True)
    pen.disc(x, y, radius * 0.16)
    for ray in polar(np.full(spokes, radius), np.arange(spokes) * (2 * np.pi / spokes)):
        pen.stroke([(x, y), (x + ray[0], y + ray[1])], width * 0.6)


def bicycle(pen: Pen, rng: Generator) -> None:
    """Two wheels, a frame, a saddle and a handlebar."""
    radius, width = rng.uniform(0.36, 0.44), rng.uniform(0.05, 0.08)
    back, front, crank = (-0.55, 0.45), (0.55, 0.45), (-0.08, 0.42)
    seat, head = (-0.25, -0.2), (0.38, -0.25)
    for hub in (back, front):
        _wheel(pen, rng, *hub, radius, int(rng.integers(6, 11)))
    for bar in ([back, crank, head, seat, back], [crank, seat], [front, head, (0.32, -0.45), (0.5, -0.5)]):
        pen.stroke(bar, width)
    pen.fill(ellipse(seat[0], seat[1] - 0.08, 0.17, 0.06))


def furniture(pen: Pen, rng: Generator) -> None:
    """A chair, a stool or a table with thin legs and a slatted back."""
    leg, seat = rng.uniform(0.05, 0.09), rng.uniform(-0.1, 0.25)
    half, deep = rng.uniform(0.45, 0.7), rng.uniform(0.12, 0.25)
    pen.fill([(-half, seat), (half, seat), (half + deep, seat + deep), (-half + deep, seat + deep)])
    for x, y in ((-half, seat), (half, seat), (half + deep, seat + deep), (-half + deep, seat + deep)):
        pen.stroke([(x, y), (x * 1.05, y + 0.7)], leg)
    if rng.random() < 0.75:
        top = seat - rng.uniform(0.6, 0.85)
        for x in np.linspace(-half, half, int(rng.integers(2, 8))):
            pen.stroke([(x, seat), (x, top)], leg * 0.8)
        for y in np.linspace(top, seat, int(rng.integers(2, 4)), endpoint=False):
            pen.stroke([(-half, y), (half, y)], leg)


def truss(pen: Pen, rng: Generator) -> None:
    """A tower, a bridge or a ladder of crossed bars."""
    bays, width = int(rng.integers(4, 8)), rng.uniform(0.04, 0.07)
    foot, tip = rng.uniform(0.25, 0.6), rng.uniform(0.06, 0.25)
    levels = np.linspace(1, -1, bays + 1)
    half = np.linspace(foot, tip, bays + 1)
    crossed = rng.random() < 0.7
    for side in (-1, 1):
        pen.stroke(np.stack([side * half, levels], 1), width * 1.4)
    for index in range(bays + 1):
        pen.stroke([(-half[index], levels[index]), (half[index], levels[index])], width)
        if crossed and index < bays:
            for side in (-1, 1):
                pen.stroke([(-side * half[index], levels[index]), (side * half[index + 1], levels[index + 1])], width)


def insect(pen: Pen, rng: Generator) -> None:
    """A body on jointed legs, with feelers and, often, wings."""
    fat = rng.uniform(0.16, 0.3)
    for y, long in ((0.4, 0.42), (-0.1, 0.25), (-0.45, 0.18)):
        pen.fill(ellipse(0, y, fat * (0.6 + long), long))
    for index in range(3):
        for side in (-1, 1):
            knee = (side * rng.uniform(0.45, 0.65), -0.35 + 0.3 * index + rng.uniform(-0.15, 0.1))
            foot = (side * rng.uniform(0.7, 0.98), knee[1] + rng.uniform(0.15, 0.4))
            pen.stroke([(0, -0.25 + 0.2 * index), knee, foot], rng.uniform(0.035, 0.06))
    for side in (-1, 1):
        pen.stroke(smooth(np.array([(0, -0.5), (side * 0.12, -0.8), (side * 0.4, -0.98)]), 2), 0.035)
    if rng.random() < 0.5:
        for side in (-1, 1):
            pen.fill(ellipse(side * 0.45, 0.15, 0.42, rng.uniform(0.12, 0.2), side * rng.uniform(0.2, 0.7)))


def comb(pen: Pen, rng: Generator) -> None:
    """A feather, a rake or a comb: a spine with many thin teeth."""
    teeth, lean = int(rng.integers(8, 18)), rng.uniform(0, 0.4)
    both, width = rng.random() < 0.5, rng.uniform(0.04, 0.07)
    y = np.linspace(-0.9, 0.7, teeth)
    reach = 0.7 * np.sin(math.pi * np.linspace(0.15, 0.95, teeth)) if rng.random() < 0.5 else np.full(teeth, 0.6)
    pen.stroke([(0, -0.95), (0, 1.0)], width * 1.8)
    for at, long in zip(y, reach, strict=True):
        for side in (-1, 1) if both else (1,):
            pen.stroke([(0, at), (side * long, at - lean * long)], width)
