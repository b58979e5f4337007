"""From an image to the network's input: timm's own transforms, evaluated or drawn from a seed of the sample's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image, ImageOps
from timm.data.transforms_factory import create_transform
from torch import Tensor

from ...backbones import backbone_spec
from ..data.decode import Pixels
from .recipes import ClassificationRecipe

TIMM = "timm:"


@dataclass(frozen=True)
class Preprocessing:
    """The published evaluation: the short side becomes `size / crop`, the middle square of `size` is kept.

    Attributes:
        size: Side of the input in pixels.
        crop: Share of the resized image that is kept: 0.875 makes it 256 for 224.
        interpolation: Of Pillow's resize.
        mode: timm's crop mode, `center` but for some of its models.
        mean: Per channel, in 0..1 units.
        std: Likewise.
    """

    size: int
    crop: float = 0.875
    interpolation: str = "bicubic"
    mode: str = "center"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def preprocessing_of(backbone: str, size: int | None, fallback: int) -> Preprocessing:
    """How images of a backbone are prepared; of a timm model as timm's configuration says.

    Args:
        backbone: Registry name or `timm:<name>`.
        size: Side of the input in pixels, or None for the model's own.
        fallback: Side of models that have none of their own.
    """
    if not backbone.startswith(TIMM):
        spec = backbone_spec(backbone)
        return Preprocessing(size or fallback, mean=tuple(spec.mean), std=tuple(spec.std))
    config = timm.get_pretrained_cfg(backbone.removeprefix(TIMM))
    if config is None:
        return Preprocessing(size or fallback)
    return Preprocessing(
        size or int(config.input_size[-1]),
        float(config.crop_pct),
        config.interpolation,
        config.crop_mode,
        tuple(map(float, config.mean)),
        tuple(map(float, config.std)),
    )


class EvalTransform:
    """`[H, W, 3]` uint8 to `[3, size, size]` float32, normalised."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._transform: Any = create_transform(
            input_size=(3, preprocessing.size, preprocessing.size),
            is_training=False,
            interpolation=preprocessing.interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
            crop_pct=preprocessing.crop,
            crop_mode=preprocessing.mode,
        )

    def __call__(self, image: Pixels) -> Tensor:
        """The network's input."""
        prepared: Tensor = self._transform(Image.fromarray(image))
        return prepared


class TrainTransform:
    """`[H, W, 3]` uint8 to `[3, size, size]` float32, normalised, cropped and augmented by a recipe."""

    def __init__(self, recipe: ClassificationRecipe, preprocessing: Preprocessing) -> None:
        drawn = recipe.augmentation
        self._transform: Any = create_transform(
            input_size=(3, recipe.size, recipe.size),
            is_training=True,
            scale=drawn.crop_area,
            ratio=drawn.crop_ratio,
            hflip=drawn.flip,
            color_jitter=drawn.colour,
            auto_augment=drawn.policy or None,
            interpolation=preprocessing.interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
            re_prob=drawn.erase,
            re_mode=drawn.erase_mode,
        )
        for step in self._transform.transforms:
            for operation in getattr(step, "ops", ()):
                if operation.name.startswith("Posterize"):
                    operation.aug_fn = posterize

    def __call__(self, image: Pixels, *seed: int) -> Tensor:
        """The network's input; the same numbers in `seed` draw the same one, in any process."""
        with drawn_by(*seed):
            prepared: Tensor = self._transform(Image.fromarray(image))
        return prepared


def posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the upper bits of each channel.

    timm's policies ask for none at their greatest magnitude, which is black; Pillow refuses that in newer releases.
    """
    return ImageOps.posterize(image, bits) if bits >= 1 else Image.new(image.mode, image.size)


@contextmanager
def drawn_by(*seed: int) -> Iterator[None]:
    """Inside, the random numbers of Python, NumPy and torch depend on `seed` alone; outside, nothing is changed.

    timm draws from these three, which belong to the whole process: not for several threads at a time.
    """
    state, numbers = random.getstate(), np.random.get_state()
    first, second, third = np.random.SeedSequence(seed).generate_state(3).tolist()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(first)
            np.random.seed(second)
            torch.manual_seed(third)
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numbers)
