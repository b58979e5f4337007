"""Scalar fields: integer-only noise and patterns, so that pixels do not depend on the machine."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.uint8]
Generator = np.random.Generator

_WAVE: Field = np.round(127.5 + 127.5 * np.sin(np.arange(256) * (2 * np.pi / 256))).astype(np.uint8)
_STEP: Field = np.where(np.arange(256) < 128, 40, 215).astype(np.uint8)
_SAW: Field = np.abs(np.arange(256) * 2 - 255).astype(np.uint8)


def fractal(rng: Generator, height: int, width: int, cell: float, octaves: int = 4) -> Field:
    """Noise of several scales, the coarsest with blobs of about `cell` pixels, stretched to 0..255."""
    total = np.zeros((height, width), np.int32)
    weight = 1 << octaves
    for _ in range(octaves):
        rows, columns = (max(2, round(side / cell)) + 1 for side in (height, width))
        grid = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int32)
        weight >>= 1
        cell /= 2
        if cell < 1:
            break
    low, high = int(total.min()), int(total.max())
    return ((total - low) * 255 // max(1, high - low)).astype(np.uint8)


def _phase(turn: float, height: int, width: int, period: float) -> npt.NDArray[np.int32]:
    across, down = (round(float(step) * 65536 / period) for step in (np.cos(turn), np.sin(turn)))
    rows, columns = np.ogrid[:height, :width]
    return np.asarray(rows * down + columns * across, np.int32) >> 8


def stripes(rng: Generator, height: int, width: int, period: float) -> Field:
    """Straight or wavy stripes, smooth, saw-toothed or hard."""
    phase = _phase(rng.uniform(0, 2 * np.pi), height, width, period)
    if rng.random() < 0.6:
        phase = phase + fractal(rng, height, width, period * 4, 2).astype(np.int32) * int(rng.integers(1, 4))
    profile = (_WAVE, _STEP, _SAW)[rng.integers(3)]
    return np.asarray(profile[phase & 255])


def checks(rng: Generator, height: int, width: int, period: float) -> Field:
    """A turned chequerboard."""
    turn = rng.uniform(0, 2 * np.pi)
    one, other = (_phase(turn + quarter, height, width, period) for quarter in (0.0, np.pi / 2))
    return np.where(((one ^ other) & 128) > 0, 215, 40).astype(np.uint8)


def gradient(rng: Generator, height: int, width: int, period: float) -> Field:
    """One slope over the whole patch with a little noise."""
    ramp = _phase(rng.uniform(0, 2 * np.pi), height, width, 2.0 * max(height, width))
    low, high = int(ramp.min()), int(ramp.max())
    slope = (ramp - low) * 215 // max(1, high - low)
    return (slope + fractal(rng, height, width, period, 3).astype(np.int32) * 40 // 255).astype(np.uint8)


def speckles(rng: Generator, height: int, width: int, period: float) -> Field:
    """Hard random grains of a few pixels."""
    grain = max(1, round(period / 5))
    grid = rng.integers(0, 256, (-(-height // grain), -(-width // grain)), dtype=np.uint8)
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def dots(rng: Generator, height: int, width: int, period: float) -> Field:
    """Round dots on a grid."""
    cell = max(4, round(period))
    rows, columns = np.ogrid[:height, :width]
    shift = (rows // cell % 2) * (cell // 2)
    dy, dx = rows % cell - cell // 2, (columns + shift) % cell - cell // 2
    inside = dy * dy + dx * dx < (cell * cell) // int(rng.integers(7, 14))
    return np.where(inside, 225, 50).astype(np.uint8)


def bricks(rng: Generator, height: int, width: int, period: float) -> Field:
    """Courses of bricks, each brick of its own shade."""
    tall = max(4, round(period * 0.7))
    long = round(tall * rng.uniform(1.5, 3))
    rows, columns = np.ogrid[:height, :width]
    course = rows // tall
    along = columns + (course % 2) * (long // 2)
    shade = rng.integers(70, 190, (height // tall + 1, (width + long) // long + 1), dtype=np.uint8)
    joint = (rows % tall < max(1, tall // 8)) | (along % long < max(1, tall // 8))
    return np.where(joint, 235, shade[course, along // long]).astype(np.uint8)


def clouds(rng: Generator, height: int, width: int, period: float) -> Field:
    """Soft noise of several scales."""
    return fractal(rng, height, width, period * 3, 5)


def marble(rng: Generator, height: int, width: int, period: float) -> Field:
    """Veins: the folded slopes of noise."""
    slopes = fractal(rng, height, width, period * 4, 4).astype(np.int32) * int(rng.integers(2, 6))
    return np.asarray(_WAVE[slopes & 255])


FIELDS: tuple[Callable[[Generator, int, int, float], Field], ...] = (
    stripes,
    checks,
    gradient,
    speckles,
    dots,
    bricks,
    clouds,
    marble,
)
