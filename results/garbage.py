"""What a results folder no longer needs: rows that newer ones supersede, and files that no row names."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import StoreError
from .gallery.tiles import TILES, shown_of
from .series import superseded
from .store import Store

SETTLED_SECONDS = 3600


class Garbage(NamedTuple):
    """One file that can go.

    Attributes:
        path: The file.
        reason: Why, in words.
        size: Bytes.
    """

    path: Path
    reason: str
    size: int


def find_garbage(store: Store) -> list[Garbage]:
    """Files that no table, figure or resumed run reads: nothing in doubt is among them.

    Rows go when a newer one of the same cell, device and installation is there, an ok row only for an ok one; `bench
    compare` between commits still reads them. What is no readable row stays, whatever it is, and as long as there is
    such a file so do all samples and pictures that no row names, since it may. Files of the last hour stay.
    """
    rows, problems = store.files()
    old = {id(row) for row in superseded([row for _, row in rows])}
    stale = [path for path, row in rows if id(row) in old]
    samples = [side for path in stale if (side := _side(path)) and side.exists()]
    garbage = [Garbage(path, "a newer row of the same cell and device is there", _size(path)) for path in stale]
    garbage += [Garbage(path, "samples of such a row", _size(path)) for path in samples]
    runs = store.root / "runs"
    if not problems:
        named = {_side(path) for path, _ in rows}
        loose = [path for path in sorted(runs.rglob("*.samples.json.gz")) if path not in named]
        garbage += [Garbage(path, "samples that no row names", _size(path)) for path in loose if _settled(path)]
        shown = {one.tile for _, row in rows if id(row) not in old for one in shown_of(row)}
        pictures = [path for path in sorted((store.root / TILES).glob("*.png")) if path.stem not in shown]
        garbage += [Garbage(path, "a picture that no row names", _size(path)) for path in pictures if _settled(path)]
    parts = [path for path in sorted(runs.rglob(".*.part")) if _settled(path)]
    return garbage + [Garbage(path, "left by a write that was cut off", _size(path)) for path in parts]


def remove(garbage: Sequence[Garbage]) -> None:
    """Delete the files.

    Raises:
        StoreError: One cannot be deleted; those before it are gone.
    """
    for one in garbage:
        try:
            one.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {one.path}: {error.strerror}; the files before it are gone") from error


def _settled(path: Path) -> bool:
    """Whether no run that is going on can be about to name the file."""
    return time.time() - path.stat().st_mtime > SETTLED_SECONDS


def _size(path: Path) -> int:
    return path.stat().st_size


def _side(row: Path) -> Path | None:
    """The samples beside a row's file, by the name that the row gives them."""
    side = json.loads(row.read_bytes()).get("samples_file")
    return row.parent / Path(side["name"]).name if side else None
