"""Compute a teacher's embeddings into a cache, going on where an earlier run was cut off."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DataError, StoreError, UsageError
from ...heads.sam import System
from ..data.parallel import in_order
from .cache import EmbeddingCache
from .images import DistillImages, check_bad
from .sizes import size_text

LOCK = ".lock"
BATCH = 4

Say = Callable[[str], None]
Framed = tuple[Tensor | None, str]


def free_bytes(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def check_space(cache: EmbeddingCache) -> None:
    """Hold the bytes to be written against the free ones.

    Raises:
        StoreError: They do not fit; says how many there are and what would be smaller.
    """
    missing, free = cache.bytes_missing, free_bytes(cache.folder)
    if missing > free:
        half = f"--fp16 ({size_text(missing // 2)}), " if cache.dtype == torch.float32 else ""
        raise StoreError(
            f"embeddings of {cache.count:,} images need {size_text(missing)} more, {size_text(free)} are free under "
            f"{cache.folder}; use {half}--embeddings on another disk, --limit, or leave --cache-embeddings out"
        )


@torch.no_grad()
def fill(
    cache: EmbeddingCache,
    images: DistillImages,
    teacher: System,
    *,
    frame: int,
    device: str = "cpu",
    max_bad: int = 0,
    workers: int = 2,
    say: Say | None = None,
) -> None:
    """Write the shards that are missing; waits where another process does so already.

    Args:
        cache: Where to.
        images: What is encoded, by its own preprocessing, not augmented.
        teacher: Encodes; in evaluation mode afterwards.
        frame: Side of its square input in pixels.
        device: Where it runs.
        max_bad: Unreadable images that are left out.
        workers: Decoding threads.
        say: Told what happens.

    Raises:
        DataError: More than `max_bad` images cannot be read; they are named, finished shards stay.
        StoreError: The embeddings do not fit on the disk, or the folder cannot be written.
    """
    teacher.eval().to(device)

    def load(index: int) -> Framed:
        try:
            return teacher.preprocessing.frame(images.image(index), size=frame)[0], ""
        except DataError as error:
            return None, str(error)

    with _alone(cache.folder, say), ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        cache.reload()
        missing = cache.missing()
        check_space(cache)
        wanted = (index for number in missing for index in cache.members(number))
        frames = in_order(load, wanted, pool, ahead=2 * BATCH)
        bad = cache.bad
        for number in missing:
            members = cache.members(number)
            if say is not None:
                say(f"teacher's embeddings {members.start}/{cache.count}")
            rows = torch.zeros(len(members), *cache.shape)
            new: dict[int, str] = {}
            for start in range(0, len(members), BATCH):
                batch = list(islice(frames, min(BATCH, len(members) - start)))
                new |= {members[start + at]: text for at, (found, text) in enumerate(batch) if found is None}
                check_bad({**bad, **new}, max_bad)
                _encode(teacher, batch, rows[start:], device)
            cache.put(number, rows, new)
            bad |= new
        check_bad(bad, max_bad)


def _encode(teacher: System, batch: list[Framed], rows: Tensor, device: str) -> None:
    there = [at for at, (found, _) in enumerate(batch) if found is not None]
    if not there:
        return
    found = torch.stack([pixels for pixels, _ in batch if pixels is not None]).to(device)
    embeddings = teacher.encode(found).image.float().cpu()
    if embeddings.shape[1:] != rows.shape[1:]:
        raise UsageError(f"the teacher's embeddings are {list(embeddings.shape[1:])}; expected {list(rows.shape[1:])}")
    rows[there] = embeddings


@contextmanager
def _alone(folder: Path, say: Say | None) -> Iterator[None]:
    """Hold the folder's lock, which a killed process loses; clear what such a one left half written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}; choose another --embeddings folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if say is not None:
                say("another process computes these embeddings; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        for torn in folder.glob(".*.part"):
            torn.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
