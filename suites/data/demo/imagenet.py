"""The demo data's part in ImageNet's layout: small pictures of twenty classes, a shape of a hue and a texture each."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ....errors import UsageError
from ....settings import cache_root
from .layouts import stream, write_jpeg
from .noise import Field, Generator, bricks, checks, dots, speckles, stripes
from .pen import Pen, Points, circle, polar
from .publish import drawn_once
from .textures import paint, palette

VERSION = 1
FOLDER = "imagenet"
CLASSES = 20
PER_CLASS = {"train": 60, "val": 15}
SIDES = (96, 128)
HUES = 10

Progress = Callable[[int, int], None]
_Texture = Callable[[Generator, int, int, float], Field]


def _polygon(corners: int, inner: float = 1.0) -> Points:
    """A regular polygon; with an inner radius a star."""
    count = corners if inner == 1.0 else 2 * corners
    radii = np.where(np.arange(count) % 2, inner, 1.0)
    return polar(radii, np.arange(count) * (2 * np.pi / count) - np.pi / 2)


_CROSS = np.array(
    [(-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1), (-3, -1), (-1, -1)]
)
SHAPES: tuple[Points, ...] = (circle(0, 0, 1), _polygon(3), _polygon(4), _polygon(5, 0.42), _CROSS / math.sqrt(10))
TEXTURES: tuple[_Texture, ...] = (stripes, dots, checks, speckles, bricks)


def class_name(label: int) -> str:
    """The folder of a class: formed like a WordNet id, but of no word."""
    return f"n{99_000_001 + label}"


def imagenet_demo_root(
    seed: int = 0, *, cache: Path | None = None, train: int = PER_CLASS["train"], val: int = PER_CLASS["val"]
) -> Path:
    """The folder of the cache that holds these data, drawn or not yet."""
    return (cache or cache_root()) / "demo" / f"{FOLDER}-v{VERSION}-seed{seed}-{train}-{val}"


def build_imagenet_demo(
    root: Path | str | None = None,
    *,
    seed: int = 0,
    train: int = PER_CLASS["train"],
    val: int = PER_CLASS["val"],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw the demo data in ImageNet's layout, or find them drawn; seconds on one core.

    Args:
        root: Folder to fill; by default one of the cache.
        seed: Seed of every drawing; an image depends on it, its split, class and number alone.
        train: Images of each class to train on.
        val: Images of each class to evaluate on.
        cache: The cache folder, in place of the set one.
        progress: Called with (images done, images in all).

    Returns:
        The folder that holds `train/` and `val/`.

    Raises:
        UsageError: `root` holds something else, or there are no images to draw.
        DataError: The folder cannot be written.
    """
    if min(train, val) < 1:
        raise UsageError(f"{train} training and {val} evaluation images a class; expected at least 1 of each")
    target = Path(root) if root is not None else imagenet_demo_root(seed, cache=cache, train=train, val=val)
    counts = {"train": train, "val": val}

    def fill(draft: Path) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for split, count in counts.items():
            for label in range(CLASSES):
                (draft / split / class_name(label)).mkdir(parents=True)
                for index in range(count):
                    file = f"{split}/{class_name(label)}/{class_name(label)}_{index:05d}.JPEG"
                    write_jpeg(draft / file, draw_class(seed, split, label, index))
                    hashes[file] = hashlib.sha256((draft / file).read_bytes()).hexdigest()
                if progress is not None:
                    progress(len(hashes), CLASSES * sum(counts.values()))
        return hashes

    wanted = {"version": f"{FOLDER} {VERSION}", "seed": seed, "counts": {"classes": CLASSES, **counts}}
    return drawn_once(target, wanted, fill)


def draw_class(seed: int, split: str, label: int, index: int) -> npt.NDArray[np.uint8]:
    """One image of a class, `[H, W, 3]` RGB.

    Hue, shape and texture belong to the class: any two classes differ in two of them at least. Place, size, angle,
    shades and ground vary from image to image.
    """
    rng = stream(seed, f"{FOLDER}-{split}-{label}", index)
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    ground = paint(rng, height, width, palette(rng, 60), float(rng.uniform(8, 40))).astype(np.int32)
    grey = ground.mean(axis=2, keepdims=True).astype(np.int32)
    picture = grey + (ground - grey) * 2 // 5  # pale, so that the ground tells no class
    shape, texture, hue = _features(label)
    patch = TEXTURES[texture](rng, height, width, float(rng.uniform(7, 13)))
    colours = _shades(rng, hue)[patch]
    cover = _placed(rng, SHAPES[shape], height, width).astype(np.int32)[..., None]
    return np.asarray((picture * (255 - cover) + colours * cover) // 255, np.uint8)


def _features(label: int) -> tuple[int, int, int]:
    """Shape, texture and hue of a class."""
    five, place = divmod(label, len(SHAPES))
    return (place + five // 2) % len(SHAPES), (place + 4 * five) % len(TEXTURES), label % HUES


def _shades(rng: Generator, hue: int) -> npt.NDArray[np.int32]:
    """Colour of each texture value, `[256, 3]`, from dark to light in one hue."""
    turn = (hue + rng.uniform(-0.2, 0.2)) / HUES % 1.0
    dark = np.array(colorsys.hsv_to_rgb(turn, rng.uniform(0.75, 1), rng.uniform(0.35, 0.6)))
    light = np.array(colorsys.hsv_to_rgb(turn, rng.uniform(0.45, 0.75), rng.uniform(0.85, 1)))
    share = np.linspace(0, 1, 256)[:, None]
    return np.asarray(np.round(255 * (dark * (1 - share) + light * share)), np.int32)


def _placed(rng: Generator, shape: Points, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Coverage of the shape somewhere in the image, `[height, width]`."""
    pen = Pen(min(height, width) * rng.uniform(0.5, 0.9), angle=rng.uniform(-0.5, 0.5), squeeze=rng.uniform(0.8, 1))
    pen.fill(shape)
    patch = pen.coverage()[:height, :width]
    top = int(rng.integers(0, height - patch.shape[0] + 1))
    left = int(rng.integers(0, width - patch.shape[1] + 1))
    cover = np.zeros((height, width), np.uint8)
    cover[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    return cover
