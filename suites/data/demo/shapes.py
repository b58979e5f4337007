"""The families of shapes and how one of them becomes a coverage patch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import frames, plants, solids
from .noise import Generator
from .pen import Pen, Plane

FAMILIES: dict[str, Callable[[Pen, Generator], None]] = {
    draw.__name__: draw
    for draw in (
        solids.ragged,
        solids.island,
        solids.plate,
        solids.gear,
        solids.star,
        solids.leaf,
        solids.crescent,
        solids.pebble,
        solids.splash,
        plants.tree,
        plants.fern,
        plants.coral,
        plants.ribbon,
        plants.sprig,
        frames.lattice,
        frames.web,
        frames.rings,
        frames.wheel,
        frames.bicycle,
        frames.furniture,
        frames.truss,
        frames.insect,
        frames.comb,
    )
}


def draw_shape(rng: Generator, family: str, diameter: float) -> Plane:
    """Coverage 0..255 of one random shape of `family`, cropped to its box; its unit frame takes `diameter` pixels."""
    upright = rng.random() < 0.4
    angle = rng.uniform(-0.35, 0.35) if upright else rng.uniform(0, 2 * np.pi)
    pen = Pen(diameter, angle=angle, squeeze=rng.uniform(0.6, 1.0))
    FAMILIES[family](pen, rng)
    return pen.coverage()
