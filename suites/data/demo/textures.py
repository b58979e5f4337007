"""Palettes and textures: a scalar field looked up in a few related colours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .noise import FIELDS, Field, Generator, fractal

Image = npt.NDArray[np.uint8]
Colour = npt.NDArray[np.float64]


class Palette(NamedTuple):
    """Colours of one texture.

    Attributes:
        mean: Average colour `[3]`, 0..255.
        table: Colour of each field value, `[256, 3]`.
    """

    mean: Colour
    table: Image


def _random_colour(rng: Generator) -> Colour:
    colour = rng.uniform(10, 245, 3)
    grey = colour.mean()
    return np.asarray(grey + (colour - grey) * rng.uniform(0.25, 1.3))


def palette(rng: Generator, contrast: float) -> Palette:
    """Two to four colours around a random one, `contrast` apart (RGB units), blended smoothly or in steps."""
    base = _random_colour(rng)
    count = int(rng.integers(2, 5))
    anchors = np.clip(
        base + rng.uniform(-contrast, contrast, (count, 1)) + rng.uniform(-0.4, 0.4, (count, 3)) * contrast, 0, 255
    )
    at = np.arange(256) / 255 * (count - 1)
    if rng.random() < 0.3:
        at = np.floor(np.arange(256) / 256 * count)
    table = np.stack([np.interp(at, np.arange(count), anchors[:, channel]) for channel in range(3)], 1)
    return Palette(table.mean(0), np.round(table).astype(np.uint8))


def distinct_palette(rng: Generator, contrast: float, others: list[Colour], tries: int) -> Palette:
    """The one of `tries` random palettes whose mean is farthest from the nearest of `others`."""
    best, best_distance = palette(rng, contrast), -1.0
    for _ in range(tries):
        candidate = palette(rng, contrast)
        distance = min(float(np.abs(candidate.mean - other).sum()) for other in others)
        if distance > best_distance:
            best, best_distance = candidate, distance
    return best


def paint(rng: Generator, height: int, width: int, colours: Palette, period: float) -> Image:
    """A textured patch `[height, width, 3]`, its pattern repeating every `period` pixels or so."""
    field = FIELDS[rng.integers(len(FIELDS))](rng, height, width, period)
    return np.asarray(colours.table[_grained(rng, field)])


def _grained(rng: Generator, field: Field) -> Field:
    strength = int(rng.integers(0, 40))
    if strength < 8:
        return field
    grain = rng.integers(-strength, strength + 1, field.shape, dtype=np.int16)
    return np.asarray(np.clip(field.astype(np.int16) + grain, 0, 255), np.uint8)


def mixed(rng: Generator, height: int, width: int, parts: list[Image], cell: float) -> Image:
    """Patches of the textures in `parts`, divided by the contour lines of a noise field."""
    field = fractal(rng, height, width, cell, 4)
    picture: Image = parts[0].copy()
    for index, part in enumerate(parts[1:], 1):
        np.copyto(picture, part, where=(field > 255 * index // len(parts))[..., None])
    return picture
