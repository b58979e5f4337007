"""Draw the demo data once, in parallel, into a folder that appears only when it is whole."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from ....errors import UsageError
from ....settings import cache_root
from ..workers import end_with_parent
from .coco import COCO_FOLDERS, coco_json, write_coco_item
from .layouts import MASK_SETS, DemoCounts, panoptic_json, write_item
from .publish import drawn_once

VERSION = 1
_CHUNK = 8

Progress = Callable[[int, int], None]


def demo_root(seed: int = 0, counts: DemoCounts | None = None, *, cache: Path | None = None) -> Path:
    """The folder of the cache that holds these demo data, drawn or not yet."""
    text = json.dumps([VERSION, seed, asdict(counts or DemoCounts())])
    return (cache or cache_root()) / "demo" / f"v{VERSION}-seed{seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def build_demo(
    root: Path | str | None = None,
    *,
    seed: int = 0,
    train_images: int | None = None,
    counts: DemoCounts | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Draw the demo data, or find them drawn.

    Args:
        root: Folder to fill; by default a folder of the cache named by version, seed and counts.
        seed: Seed of every drawing. The evaluation images depend on it and on nothing else.
        train_images: Training images in all (default 600); more of them leaves the first ones as they were.
        counts: Images of each set, in place of `train_images`.
        workers: Processes; by default one a core. One draws in this process.
        progress: Called with (images done, images in all).

    Returns:
        The data root: the folders of DIS5K, COIFT, HRSOD, ThinObject5K, COCONut and COCO lie in it.

    Raises:
        UsageError: `root` holds something else, or the counts make no sense.
        DataError: The folder cannot be written.
    """
    if train_images is not None and counts is not None:
        raise UsageError("give train_images or counts, not both")
    if train_images is not None and train_images < 1:
        raise UsageError(f"train_images is {train_images}; expected at least 1")
    counts = counts or (DemoCounts.with_training(train_images) if train_images is not None else DemoCounts())
    target = Path(root) if root is not None else demo_root(seed, counts)
    wanted = {"version": VERSION, "seed": seed, "counts": asdict(counts)}
    cores = workers or os.cpu_count() or 1
    return drawn_once(target, wanted, lambda draft: _fill(draft, seed, counts, cores, progress))


def _fill(root: Path, seed: int, counts: DemoCounts, workers: int, progress: Progress | None) -> dict[str, str]:
    """Draw all images below `root`; the SHA-256 of each file."""
    for layout in MASK_SETS.values():
        for folder in (layout.images, layout.masks):
            (root / folder).mkdir(parents=True)
    for folder in ("COCONut/train2017", "COCONut/panoptic_coconut_b", *COCO_FOLDERS):
        (root / folder).mkdir(parents=True)
    jobs = counts.jobs()
    chunks = [jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
    hashes: dict[str, str] = {}
    notes: dict[str, list[dict[str, Any]]] = {"panoptic": [], "coco": []}
    done = 0
    for files, chunk_notes in _drawn(root, seed, chunks, workers):
        hashes |= files
        for name, note in chunk_notes:
            notes[name].append(note)
        done += sum(file.endswith(".jpg") for file in files)
        if progress is not None:
            progress(done, len(jobs))
    for file, data in {**panoptic_json(notes["panoptic"]), **coco_json(notes["coco"])}.items():
        (root / file).write_bytes(data)
        hashes[file] = hashlib.sha256(data).hexdigest()
    return hashes


Chunk = list[tuple[str, int]]
Drawn = tuple[dict[str, str], list[tuple[str, dict[str, Any]]]]


def _draw_chunk(root: Path, seed: int, chunk: Chunk) -> Drawn:
    hashes: dict[str, str] = {}
    notes = []
    for name, index in chunk:
        files, note = write_coco_item(root, seed, index) if name == "coco" else write_item(root, seed, name, index)
        hashes |= {file: hashlib.sha256((root / file).read_bytes()).hexdigest() for file in files}
        notes += [(name, note)] if note is not None else []
    return hashes, notes


def _drawn(root: Path, seed: int, chunks: list[Chunk], workers: int) -> Iterator[Drawn]:
    if workers == 1 or len(chunks) == 1:
        yield from (_draw_chunk(root, seed, chunk) for chunk in chunks)
        return
    with drawing_pool(min(workers, len(chunks))) as pool:
        futures: list[Future[Drawn]] = [pool.submit(_draw_chunk, root, seed, chunk) for chunk in chunks]
        for future in as_completed(futures):
            yield future.result()


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


@contextmanager
def drawing_pool(workers: int) -> Iterator[Executor]:
    """Processes that draw, and end with this one."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
