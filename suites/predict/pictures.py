"""The pictures of one image's masks: a mask each, or one map of all, and the overlay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...heads.run_lengths import decode_mask
from ..data.decode import Pixels
from .overlay import Overlay, colour_of
from .prompts import Prompt
from .segment import Fact

Picture = tuple[str, npt.NDArray[Any]]


def prompted_pictures(image: Pixels, facts: Sequence[Fact], prompts: Sequence[Prompt]) -> Iterator[Picture]:
    """`mask`, or `mask-1`, `mask-2`, ... where there are several (0 and 255), and `overlay`, with the prompts in it."""
    digits = len(str(len(facts)))
    for number, fact in enumerate(facts, 1):
        name = "mask" if len(facts) == 1 else f"mask-{number:0{digits}d}"
        yield name, decode_mask(fact["rle"]).view(np.uint8) * np.uint8(255)
    overlay = _filled(image, facts)
    for number, prompt in enumerate(prompts):
        first = next(at for at, fact in enumerate(facts) if fact["prompt"] == number)
        overlay.draw_prompt(prompt, colour_of(first))
    if len(facts) > 1:
        for number, fact in enumerate(facts):
            overlay.draw_number(number + 1, (fact["box"][0], fact["box"][1]), colour_of(number))
    yield "overlay", overlay.canvas


def everything_pictures(image: Pixels, facts: Sequence[Fact]) -> Iterator[Picture]:
    """`labels`: 0, or the number of the mask from 1 on, smaller masks on top (16 bits past 255); `overlay`."""
    labels = np.zeros(image.shape[:2], np.uint8 if len(facts) < 256 else np.uint16)
    for number in _by_size(facts):
        labels[decode_mask(facts[number]["rle"])] = number + 1
    yield "labels", labels
    yield "overlay", _filled(image, facts).canvas


def _filled(image: Pixels, facts: Sequence[Fact]) -> Overlay:
    overlay = Overlay(image)
    for number in _by_size(facts):
        overlay.draw_mask(decode_mask(facts[number]["rle"]), colour_of(number))
    return overlay


def _by_size(facts: Sequence[Fact]) -> list[int]:
    return sorted(range(len(facts)), key=lambda number: -int(facts[number]["area"]))
