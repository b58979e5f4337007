"""What the user asks of an image: boxes and points from the command line or from a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError, UsageError

Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Prompt(NamedTuple):
    """One object that is asked for: a box, points, or both.

    Attributes:
        box: (x0, y0, x1, y1) in pixels of the image.
        points: (x, y) each, likewise.
        labels: One for each point: 1 foreground, 0 background.
    """

    box: Box | None = None
    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without what is not given."""
        given = {"box": self.box and list(self.box), "points": [list(point) for point in self.points]}
        return {name: value for name, value in {**given, "labels": list(self.labels)}.items() if value}

    def inside(self, height: int, width: int) -> Prompt:
        """The prompt with its box cut at the edges of an image.

        Raises:
            DataError: The box or a point lies outside.
        """
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise DataError(f"point {x:g},{y:g} lies outside the image of {width}x{height} pixels")
        if self.box is None:
            return self
        x0, y0, x1, y1 = self.box
        if x0 >= width or y0 >= height or x1 < 0 or y1 < 0:
            raise DataError(
                f"box {','.join(f'{side:g}' for side in self.box)} lies outside the image of {width}x{height} pixels"
            )
        return self._replace(box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))


def parse_prompts(boxes: Sequence[str], points: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts of `--box x0,y0,x1,y1` and `--point x,y,label` options; points describe one object, with the box if any.

    Raises:
        UsageError: Text that cannot be read, or points beside several boxes.
    """
    corners = [_numbers("--box", text, "x0,y0,x1,y1", 4) for text in boxes]
    places = [_numbers("--point", text, "x,y,label", 3) for text in points]
    if len(corners) > 1 and places:
        raise UsageError("--point goes with at most one --box; for several boxes with points give --prompts FILE")
    try:
        entry = {
            "boxes": corners,
            "points": [place[:2] for place in places],
            "labels": [place[2] for place in places],
        }
        return _prompts({name: value for name, value in entry.items() if value})
    except ValueError as error:
        raise UsageError(f"--box or --point: {error}") from error


def read_prompts(path: Path) -> dict[str, tuple[Prompt, ...]]:
    """Prompts by image name from a JSON file `{"a.jpg": {"boxes": [[x0, y0, x1, y1], ...], "points": ...}, ...}`.

    `points: [[x, y], ...]` with `labels: [1, ...]` is one object, together with the box where there is one;
    `points: [[[x, y], ...], ...]` with `labels: [[1, ...], ...]` are as many objects, each with its box where there are
    boxes.

    Raises:
        UsageError: The file is missing, no JSON or of another form; the image's entry is named.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--prompts {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--prompts {path} is no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f'--prompts {path}: expected {{"name.jpg": {{"boxes": [[x0, y0, x1, y1]]}}, ...}}')
    found = {}
    for name, entry in data.items():
        try:
            found[name] = _prompts(entry)
        except (TypeError, ValueError) as error:
            raise UsageError(f"--prompts {path}: {name}: {error}") from error
        if not found[name]:
            raise UsageError(f"--prompts {path}: {name}: neither boxes nor points")
    return found


def _numbers(option: str, text: str, form: str, count: int) -> list[float]:
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count:
        raise UsageError(f"{option} '{text}' cannot be read; expected {form}, for example {option} {_EXAMPLES[form]}")
    return values


_EXAMPLES = {"x0,y0,x1,y1": "10,20,200,300", "x,y,label": "120,80,1"}


def _prompts(entry: Any) -> tuple[Prompt, ...]:
    if not isinstance(entry, Mapping) or not set(entry) <= {"boxes", "points", "labels"}:
        raise ValueError("expected an object with boxes, points and labels")
    given = {name: entry.get(name, []) for name in ("boxes", "points", "labels")}
    if foreign := next((name for name, values in given.items() if not isinstance(values, list)), None):
        raise ValueError(f"{foreign} is {given[foreign]!r}; expected a list")
    boxes, points, labels = [_box(box) for box in given["boxes"]], given["points"], given["labels"]
    nested = bool(points) and isinstance(points[0], Sequence) and bool(points[0]) and isinstance(points[0][0], Sequence)
    groups = points if nested else [points] * bool(points)
    marks = labels if nested else [labels] * bool(labels)
    if len(groups) != len(marks):
        raise ValueError(f"{len(groups)} lists of points with {len(marks)} lists of labels; expected one label a point")
    if boxes and groups and len(boxes) != len(groups):
        raise ValueError(f"{len(boxes)} boxes with {len(groups)} lists of points; expected one list for each box")
    objects = [_points(group, mark) for group, mark in zip(groups, marks, strict=True)]
    if not objects:
        return tuple(Prompt(box) for box in boxes)
    if not boxes:
        return tuple(Prompt(None, *dots) for dots in objects)
    return tuple(Prompt(box, *dots) for box, dots in zip(boxes, objects, strict=True))


def _box(values: Any) -> Box:
    x0, y0, x1, y1 = _finite(values, 4, "a box of 4 numbers")
    if x1 < x0 or y1 < y0:
        raise ValueError(f"box {values}: expected x0 <= x1 and y0 <= y1")
    return x0, y0, x1, y1


def _points(points: Any, labels: Any) -> tuple[tuple[Point, ...], tuple[int, ...]]:
    if not isinstance(labels, Sequence) or len(points) != len(labels):
        raise ValueError(f"{len(points)} points with labels {labels}; expected one label a point")
    if not all(label in (0, 1) for label in labels):
        raise ValueError(f"labels {labels}; expected 1 (foreground) or 0 (background)")
    found = []
    for point in points:
        x, y = _finite(point, 2, "a point of 2 numbers")
        found.append((x, y))
    return tuple(found), tuple(int(label) for label in labels)


def _finite(values: Any, count: int, what: str) -> list[float]:
    right = isinstance(values, Sequence) and not isinstance(values, str) and len(values) == count
    if not right or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise ValueError(f"{values!r}: expected {what}")
    return [float(value) for value in values]
