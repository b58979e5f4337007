"""What a user may prompt with, checked before it is encoded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import UsageError

NOT_A_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3
MEANINGS = {
    FOREGROUND: "foreground",
    BACKGROUND: "background",
    TOP_LEFT: "top left corner",
    BOTTOM_RIGHT: "bottom right corner",
    NOT_A_POINT: "no point",
}


def count_prompts(
    frame: tuple[int, int],
    *,
    points: Tensor | None,
    labels: Tensor | None,
    boxes: Tensor | None,
    masks: Tensor | None,
    known_labels: Sequence[int],
) -> int:
    """Check prompts for a frame (height, width in pixels) and return how many there are.

    Raises:
        UsageError: No prompt, shapes that do not fit, or a label that is not among `known_labels`.
    """
    if (points is None) != (labels is None):
        raise UsageError("points and labels belong together: give both (1 foreground, 0 background) or neither")
    given = {name: t for name, t in (("points", points), ("boxes", boxes), ("masks", masks)) if t is not None}
    if not given:
        raise UsageError("no prompt: give boxes [N, 4], points [N, P, 2] with labels [N, P], or masks")
    counts = {name: len(t) for name, t in given.items()}
    if len(set(counts.values())) > 1:
        raise UsageError(f"the prompts differ in number: {counts}; give one of each kind per prompt")
    quarter = (1, frame[0] // 4, frame[1] // 4)
    expected = {"points": "[N, P, 2]", "boxes": "[N, 4]", "masks": f"[N, {', '.join(map(str, quarter))}]"}
    fits = {
        "points": lambda t: t.ndim == 3 and t.shape[2] == 2,
        "boxes": lambda t: t.ndim == 2 and t.shape[1] == 4,
        "masks": lambda t: t.shape[1:] == quarter,
    }
    for name, tensor in given.items():
        if not fits[name](tensor):
            raise UsageError(f"{name} has shape {list(tensor.shape)}, expected {expected[name]}")
    if points is not None and labels is not None:
        if labels.shape != points.shape[:2]:
            raise UsageError(f"labels has shape {list(labels.shape)}, expected {list(points.shape[:2])}")
        known = torch.stack([labels == label for label in known_labels]).any(dim=0)
        if not bool(known.all()):
            *most, last = (f"{label} ({MEANINGS[label]})" for label in known_labels)
            raise UsageError(f"labels must be {', '.join(most)} or {last}")
    return next(iter(counts.values()))
