"""The demo data's part in ADE20K's layout: small landscapes of twelve of its classes, and their class table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2

from ....errors import UsageError
from ....settings import cache_root
from .landscape import LOOKS, UNLABELLED, Landscape, draw_landscape
from .layouts import stream, write_jpeg
from .publish import drawn_once

VERSION = 1
FOLDER = "ADEChallengeData2016"
IMAGES = {"training": 320, "validation": 80}

Progress = Callable[[int, int], None]


def ade20k_demo_root(
    seed: int = 0,
    *,
    cache: Path | None = None,
    training: int = IMAGES["training"],
    validation: int = IMAGES["validation"],
) -> Path:
    """The data root in the cache that holds these data, drawn or not yet."""
    return (cache or cache_root()) / "demo" / f"ade20k-v{VERSION}-seed{seed}-{training}-{validation}"


def build_ade20k_demo(
    root: Path | str | None = None,
    *,
    seed: int = 0,
    training: int = IMAGES["training"],
    validation: int = IMAGES["validation"],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw the demo data in ADE20K's layout, or find them drawn; seconds on one core.

    Args:
        root: Data root that gets the folder `ADEChallengeData2016`; by default one in the cache.
        seed: Seed of every drawing; an image depends on it, its split and its number alone.
        training: Images to train on.
        validation: Images to evaluate on.
        cache: The cache folder, in place of the set one.
        progress: Called with (images done, images in all).

    Returns:
        The data root.

    Raises:
        UsageError: The folder holds something else, or there are no images to draw.
        DataError: It cannot be written.
    """
    if min(training, validation) < 1:
        raise UsageError(f"{training} training and {validation} validation images; expected at least 1 of each")
    counts = {"training": training, "validation": validation}
    if root is None:
        root = ade20k_demo_root(seed, cache=cache, training=training, validation=validation)

    def fill(draft: Path) -> dict[str, str]:
        contents = {"classes.tsv": class_table().encode()}
        (draft / "classes.tsv").write_bytes(contents["classes.tsv"])
        hashes = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
        done = 0
        for split, count in counts.items():
            for part in ("images", "annotations"):
                (draft / part / split).mkdir(parents=True)
            for index in range(count):
                for file in _write_scene(draft, split, index, draw_scene(seed, split, index)):
                    hashes[file] = hashlib.sha256((draft / file).read_bytes()).hexdigest()
                done += 1
                if progress is not None:
                    progress(done, sum(counts.values()))
        return hashes

    wanted = {"version": f"ade20k {VERSION}", "seed": seed, "counts": {"ade20k": training + validation, **counts}}
    return drawn_once(Path(root) / FOLDER, wanted, fill).parent


def draw_scene(seed: int, split: str, index: int) -> Landscape:
    """One image with its classes."""
    return draw_landscape(stream(seed, f"ade20k-{split}", index))


def class_table() -> str:
    """The class table: ADE20K's numbers and names of the classes that are drawn."""
    lines = sorted((look.id, name) for name, look in LOOKS.items())
    return "id\tname\tignore\n" + "".join(
        f"{number}\t{name}\t{int(number == UNLABELLED)}\n" for number, name in [(UNLABELLED, "other"), *lines]
    )


def _write_scene(root: Path, split: str, index: int, scene: Landscape) -> tuple[str, str]:
    stem = f"ADE_{'train' if split == 'training' else 'val'}_{index + 1:08d}"
    files = f"images/{split}/{stem}.jpg", f"annotations/{split}/{stem}.png"
    write_jpeg(root / files[0], scene.image)
    _, data = cv2.imencode(".png", scene.ids, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    (root / files[1]).write_bytes(data.tobytes())
    return files
