"""A process's share of a step, cut into the passes whose gradients are added up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from ...errors import UsageError

OWNER = "image_index"


def cut(batch: Mapping[str, Any], passes: int, *, objects: Collection[str] = ()) -> list[dict[str, Any]]:
    """Parts of a batch with the same number of images each, in order.

    Args:
        batch: `images` `[B, ...]`; other tensors and lists of length B go with their image, the rest into every part.
        passes: Number of parts.
        objects: Entries `[N, ...]` with a row for each object instead; `image_index` `[N]` int64 says whose it is.

    Raises:
        UsageError: The parts cannot be equal.
    """
    if passes == 1:
        return [dict(batch)]
    images = len(batch["images"])
    if images % passes:
        raise UsageError(f"a batch of {images} images cannot be cut into {passes} equal passes")
    size = images // passes
    return [_part(batch, start, start + size, objects) for start in range(0, images, size)]


def _part(batch: Mapping[str, Any], start: int, stop: int, objects: Collection[str]) -> dict[str, Any]:
    images = len(batch["images"])
    part: dict[str, Any] = {}
    for key, value in batch.items():
        if objects and (key in objects or key == OWNER):
            owner = batch[OWNER]
            here = (owner >= start) & (owner < stop)
            part[key] = owner[here] - start if key == OWNER else value[here]
        elif (isinstance(value, list) or (torch.is_tensor(value) and value.ndim)) and len(value) == images:
            part[key] = value[start:stop]
        else:
            part[key] = value
    return part
