"""Masks of one image as JSON values: run lengths, boxes, areas, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from ...heads.run_lengths import encode_mask
from ...heads.sam.automatic import MaskGenerator, Progress
from ...heads.sam.predictor import Predictor
from ...heads.sam.regions import mask_box
from ..data.decode import Pixels
from .prompts import Prompt

Fact = dict[str, Any]

_PIXELS_AT_ONCE = 2**28


def segment_prompts(
    predictor: Predictor,
    image: Pixels,
    prompts: Sequence[Prompt],
    *,
    multimask: bool,
    choice: Literal["single", "best"],
) -> list[Fact]:
    """The masks of each prompt.

    Args:
        predictor: It keeps the image.
        image: `[H, W, 3]` RGB.
        prompts: At least one.
        multimask: As for `Predictor.predict`.
        choice: Likewise.

    Returns:
        In the order of the prompts, for each mask: `prompt` (its index), `rle`, `box` (tight, the last pixel
        inclusive), `area` in pixels, `score`.
    """
    predictor.set_image(image)
    step = max(1, _PIXELS_AT_ONCE // image[..., 0].size)
    facts: list[list[Fact]] = [[] for _ in prompts]
    for numbers in _alike(prompts, step):
        chosen = [prompts[number] for number in numbers]
        points = {
            "points": np.asarray([prompt.points for prompt in chosen], np.float32),
            "labels": np.asarray([prompt.labels for prompt in chosen], np.float32),
        }
        masks, scores, _ = predictor.predict(
            box=None if chosen[0].box is None else np.asarray([prompt.box for prompt in chosen], np.float32),
            **(points if chosen[0].points else {}),
            multimask=multimask,
            choice=choice,
        )
        for number, own, quality in zip(numbers, masks, scores, strict=True):
            facts[number] += [
                {
                    "prompt": number,
                    "rle": encode_mask(mask),
                    "box": list(mask_box(mask)),
                    "area": int(mask.sum()),
                    "score": float(score),
                }
                for mask, score in zip(own, quality, strict=True)
            ]
    return [fact for of_prompt in facts for fact in of_prompt]


def segment_everything(generator: MaskGenerator, image: Pixels, progress: Progress) -> list[Fact]:
    """All that the generator finds: `rle`, `box`, `area`, `score`, `stability`, `point` and `crop` of each mask."""
    return [
        {
            "rle": mask.rle,
            "box": list(mask.box),
            "area": mask.area,
            "score": mask.quality,
            "stability": mask.stability,
            "point": list(mask.point),
            "crop": list(mask.crop),
        }
        for mask in generator.generate(image, progress=progress)
    ]


def _alike(prompts: Sequence[Prompt], step: int) -> Iterator[list[int]]:
    """Indices of prompts of one kind and as many points, at most `step` at once: they need no padding."""
    kinds: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        kinds[prompt.box is None, len(prompt.points)].append(number)
    for numbers in kinds.values():
        yield from (numbers[start : start + step] for start in range(0, len(numbers), step))
