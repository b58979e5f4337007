"""Image sides read from text."""

from __future__ import annotations

import re

from ...errors import UsageError

PATCH = 16
DEFAULT_STEP = 256
EXPECTED = "expected A..B, A..B:STEP or a comma list, in multiples of 16 (for example 512..2048:256 or 512,1024)"


def parse_resolutions(text: str) -> tuple[int, ...]:
    """Read `512..2048` (step 256), `512..2048:512`, `512,1024` or `1024` as ascending image sides in pixels.

    Raises:
        UsageError: Anything else, an end that the steps do not reach, or sides that are no multiples of 16.
    """
    spread = re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*(?::\s*(\d+)\s*)?", text)
    if spread:
        first, last, step = int(spread[1]), int(spread[2]), int(spread[3] or DEFAULT_STEP)
        sides = _spread(text, first, last, step)
    elif re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        sides = tuple(sorted({int(part) for part in re.findall(r"\d+", text)}))
    else:
        raise UsageError(f"--res '{text}': {EXPECTED}")
    bad = [side for side in sides if side <= 0 or side % PATCH]
    if bad:
        raise UsageError(f"--res '{text}': {bad[0]} is not a positive multiple of {PATCH}; {EXPECTED}")
    return sides


def _spread(text: str, first: int, last: int, step: int) -> tuple[int, ...]:
    if step <= 0 or last < first:
        raise UsageError(
            f"--res '{text}': the end must not lie below the start and the step must be positive; {EXPECTED}"
        )
    if (last - first) % step:
        below = last - (last - first) % step
        raise UsageError(
            f"--res '{text}': steps of {step} from {first} do not reach {last}; "
            f"end at {below} or {below + step}, or give another step (A..B:STEP)"
        )
    return tuple(range(first, last + 1, step))
