"""Images and their box prompts one after another, decoded ahead by threads; what is bad is told and counted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

from ...errors import DataError
from .coco import CocoInstances
from .coco_boxes import BoxPrompts, Prompts
from .coco_json import CocoImage
from .decode import Pixels
from .masks import shortened
from .parallel import in_order


class PromptedImage(NamedTuple):
    """One image and what to prompt with.

    Attributes:
        record: Its entry in the instances file.
        image: RGB, `[H, W, 3]`.
        prompts: Boxes, scores and categories; there may be none.
    """

    record: CocoImage
    image: Pixels
    prompts: Prompts


def prompted_images(
    dataset: CocoInstances,
    prompts: BoxPrompts,
    *,
    bad: list[str],
    limit: int | None = None,
    max_bad: int = 0,
    workers: int = 2,
    ahead: int = 4,
) -> Iterator[PromptedImage]:
    """The images in order, those without a prompt too.

    Score only what this gives: images that could not be read are no mistakes of the system.

    Args:
        dataset: The images.
        prompts: Their boxes.
        bad: Is told every image that cannot be read or whose annotations are malformed, one line each.
        limit: Only the first images.
        max_bad: Bad images tolerated; more of them is an error, raised after all were tried.
        workers: Decoding threads; 0 decodes when an image is asked for.
        ahead: Images decoded in advance at most, which bounds the memory.

    Raises:
        DataError: More than `max_bad` images could not be used, or none could; they are named.
    """
    known = len(bad)
    count = len(dataset) if limit is None else min(limit, len(dataset))

    def load(index: int) -> PromptedImage | DataError:
        try:
            dataset.check(index)
            return PromptedImage(dataset.records[index], dataset.image(index), prompts[index])
        except DataError as error:
            return error

    with ThreadPoolExecutor(workers, thread_name_prefix="coco") if workers else nullcontext() as pool:
        for loaded in in_order(load, range(count), pool, ahead=ahead):
            if isinstance(loaded, DataError):
                bad.append(str(loaded))
            else:
                yield loaded
    failed = bad[known:]
    if len(failed) > max_bad or (failed and len(failed) == count):
        raise DataError(
            f"{dataset.name}: {len(failed)} of {count} images could not be used: {shortened(failed)}; "
            f"mend them, or tolerate them with --max-bad {len(failed)}"
        )
