"""The instances file of COCO (and LVIS): images, categories and annotations, checked once and kept by image."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError

Annotation = dict[str, Any]


class CocoImage(NamedTuple):
    """One entry of `images`.

    Attributes:
        id: Image id.
        file: Below the image folder; with its folder (`val2017/...`) where the entry has no `file_name`, as in LVIS.
        height: In pixels.
        width: In pixels.
    """

    id: int
    file: str
    height: int
    width: int


@dataclass(frozen=True)
class CocoTruth:
    """A checked instances file.

    Attributes:
        source: Path, or `ground truth` for what was given in memory; for messages.
        images: By id, in the file's order.
        categories: Names by id.
        annotations: By image id, in the file's order; crowds included.
        unlisted: Annotations of images that `images` does not list; they are left out, as pycocotools does.
        federated: Whether images say which categories were looked for (LVIS).
    """

    source: str
    images: dict[int, CocoImage]
    categories: dict[int, str]
    annotations: dict[int, list[Annotation]]
    unlisted: int
    federated: bool

    @property
    def unused_categories(self) -> tuple[str, ...]:
        """Names of the categories without an annotation that is no crowd; AP leaves them out."""
        used = {note["category_id"] for notes in self.annotations.values() for note in notes if not is_crowd(note)}
        return tuple(name for category, name in self.categories.items() if category not in used)


def is_crowd(annotation: Annotation) -> bool:
    """Whether an annotation marks a group, not an object."""
    return bool(annotation.get("iscrowd", 0))


def load_json(source: Path | str) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: The file is missing, unreadable or no JSON.
    """
    try:
        return json.loads(Path(source).read_bytes())
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{source}: no JSON, or cut short ({error})") from error


def whole(value: Any) -> int:
    """A whole number of a JSON file, perhaps written as 5.0 or as text.

    Raises:
        ValueError: It is none.
        TypeError: It is no number at all.
    """
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is no whole number")
    number = int(value)
    if abs(number) >= 2**63:
        raise ValueError(f"{value} has more than 64 bits")
    return number


def read_truth(source: Path | str | Mapping[str, Any]) -> CocoTruth:
    """Read and check an instances file.

    Args:
        source: Its path, or its content.

    Raises:
        DataError: Missing or unreadable; no images, annotations or categories in it; entries without what COCO's format
            asks for; an image or category id that occurs twice; an annotation of a category that is not listed.
    """
    name, data = (str(source), load_json(source)) if isinstance(source, (str, Path)) else ("ground truth", source)
    if not isinstance(data, Mapping):
        raise DataError(f"{name}: a JSON {type(data).__name__}; expected COCO's images, annotations and categories")
    for part in ("images", "annotations", "categories"):
        if not isinstance(data.get(part), list) or (part != "annotations" and not data[part]):
            state = "an empty list" if data.get(part) == [] else "missing"
            hint = " (image_info files have none; take the instances file)" if part == "annotations" else ""
            raise DataError(f"{name}: {part!r} is {state}; expected a COCO instances file{hint}")
    images = _images(name, data["images"])
    categories = _categories(name, data["categories"])
    annotations, unlisted = _by_image(name, data["annotations"], images, categories)
    federated = any("neg_category_ids" in entry for entry in data["images"])
    return CocoTruth(name, images, categories, annotations, unlisted, federated)


def _fault(error: Exception) -> str:
    return f"has no {error}" if isinstance(error, KeyError) else f"is malformed ({error})"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no file name")
    return value


def _categories(name: str, entries: list[Any]) -> dict[int, str]:
    categories: dict[int, str] = {}
    for entry in entries:
        try:
            number = whole(entry["id"])
            label = str(entry.get("name", number))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{name}: category {entry!r:.80} {_fault(error)}; expected id and name") from error
        if number in categories:
            raise DataError(f"{name}: category id {number} is listed twice ({categories[number]}, {label})")
        categories[number] = label
    return categories


def _images(name: str, entries: list[Any]) -> dict[int, CocoImage]:
    images: dict[int, CocoImage] = {}
    for entry in entries:
        try:
            file = entry.get("file_name") or "/".join(entry["coco_url"].split("/")[-2:])
            image = CocoImage(whole(entry["id"]), _text(file), whole(entry["height"]), whole(entry["width"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{name}: image {entry!r:.80} {_fault(error)}; expected id, file_name, height and width"
            ) from error
        if min(image.height, image.width) < 1:
            raise DataError(f"{name}: image {image.id} ({file}) is of {image.width}x{image.height} pixels")
        if image.id in images:
            raise DataError(f"{name}: image id {image.id} is listed twice ({images[image.id].file}, {file})")
        images[image.id] = image
    return images


def _by_image(
    name: str, entries: list[Any], images: dict[int, CocoImage], categories: dict[int, str]
) -> tuple[dict[int, list[Annotation]], int]:
    annotations: dict[int, list[Annotation]] = defaultdict(list)
    unknown: Counter[int] = Counter()
    unlisted = 0
    for entry in entries:
        try:
            image, category = whole(entry["image_id"]), whole(entry["category_id"])
            entry["segmentation"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{name}: annotation {entry!r:.80} {_fault(error)}; expected image_id, category_id and segmentation"
            ) from error
        if category not in categories:
            unknown[category] += 1
        if image in images:
            annotations[image].append(entry)
        else:
            unlisted += 1
    if unknown:
        ids = ", ".join(map(str, sorted(unknown)[:10]))
        raise DataError(f"{name}: {unknown.total()} annotations have category ids that 'categories' lacks: {ids}")
    return dict(annotations), unlisted
