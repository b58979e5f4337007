"""The two kinds of scene: many objects for instance training, one salient object among others for mask quality."""

from __future__ import annotations

import cv2
import numpy as np

from .noise import Generator
from .scene import Scene, add_object, finish, new_scene

MIN_OBJECTS, MAX_OBJECTS = 8, 20
_TARGET_SHARE = 0.02


def image_size(rng: Generator, short: int, long: int) -> tuple[int, int]:
    """Height and width of an image, sides between `short` and `long`, a quarter of them square."""
    one = int(rng.integers(short, long + 1))
    shape = rng.random()
    if shape < 0.25:
        return one, one
    other = min(long, max(short, round(one * rng.uniform(0.6, 0.95))))
    return (one, other) if shape < 0.5 else (other, one)


def instances_scene(rng: Generator, height: int, width: int) -> Scene:
    """Eight to twenty visible objects, large ones below, small ones above."""
    while True:
        scene = new_scene(rng, height, width)
        wanted = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
        large = int(rng.integers(1, 4))
        for size, goal in (((0.5, 0.9), large), ((0.25, 0.5), (wanted + large) // 2), ((0.12, 0.3), wanted)):
            for _ in range(3 * (goal - len(scene.families))):
                if len(scene.families) < goal:
                    add_object(rng, scene, size)
        if len(scene.families) >= MIN_OBJECTS:
            finish(rng, scene)
            return scene


def target_scene(rng: Generator, height: int, width: int, size: tuple[float, float]) -> tuple[Scene, int]:
    """A scene and the number of its target, the one object that is mostly visible and has its box to itself.

    Args:
        rng: Random stream of the scene.
        height: Pixels.
        width: Pixels.
        size: Range of the target's diameter as a share of the short side.
    """
    while True:
        scene = new_scene(rng, height, width)
        for _ in range(int(rng.integers(2, 7))):
            add_object(rng, scene, (0.15, 0.6))
        below = len(scene.families)
        add_object(rng, scene, size, inside=0.92, tries=8)
        target = len(scene.families)
        if target == below:
            continue
        for _ in range(int(rng.integers(0, 4))):
            add_object(rng, scene, (0.12, 0.3), keep=0.85)
        _, _, box_width, box_height = cv2.boundingRect((scene.labels == target).astype(np.uint8))
        if box_width * box_height >= _TARGET_SHARE * height * width:
            finish(rng, scene)
            return scene, target
