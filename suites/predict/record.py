"""The files of one image's results: written whole, found again, cleared of what an earlier run left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ...errors import StoreError
from ...results.files import write_atomic
from ...results.schema import canonical_json

Record = dict[str, Any]


def record_key(inputs: Mapping[str, Any]) -> str:
    """16 hex digits over everything that decides a result."""
    return hashlib.sha256(canonical_json(dict(inputs)).encode()).hexdigest()[:16]


class ResultFiles:
    """Results of one image in a folder: `<stem>.json` and the pictures that it names, `<stem>-*.png`.

    Args:
        folder: Of all results.
        stem: Of the image's file name.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem
        self.json = folder / f"{stem}.json"

    def finished(self, key: str) -> Record | None:
        """The record of `key`, if it is there with all its pictures."""
        record = self._record()
        return record if record.get("key") == key and all(path.is_file() for path in self._pictures(record)) else None

    def write(self, record: Record, pictures: Iterable[tuple[str, npt.NDArray[Any]]]) -> None:
        """Write the pictures, then the record with their names; pictures of an earlier record go.

        Args:
            record: JSON values.
            pictures: What follows `<stem>-` in the name, and the image: grey or RGB, 8 or 16 bits.

        Raises:
            StoreError: The folder cannot be written.
        """
        old, names = self._pictures(self._record()), []
        try:
            # Without its record an image counts as not done while its pictures are of two runs.
            self.json.unlink(missing_ok=True)
            for path in old:
                path.unlink(missing_ok=True)
            for name, picture in pictures:
                names.append(f"{self.stem}-{name}.png")
                write_atomic(self.folder / names[-1], _png(picture), overwrite=True)
            text = json.dumps({**record, "files": names}, indent=1, allow_nan=False)
            write_atomic(self.json, f"{text}\n".encode(), overwrite=True)
        except OSError as error:
            raise StoreError(unwritable(self.folder, error)) from error

    def _record(self) -> Record:
        try:
            data = json.loads(self.json.read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _pictures(self, record: Record) -> list[Path]:
        names = record.get("files")
        # A record may have been edited: only names that could be this image's are touched.
        own = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        return [
            self.folder / name
            for name in own
            if name.startswith(f"{self.stem}-") and name.endswith(".png") and Path(name).name == name
        ]


def check_writable(folder: Path) -> None:
    """Make the results' folder.

    Raises:
        StoreError: It cannot be made or written.
    """
    probe = folder / ".linbench-probe"
    try:
        write_atomic(probe, b"", overwrite=True)
        probe.unlink()
    except OSError as error:
        raise StoreError(unwritable(folder, error)) from error


def unwritable(folder: Path, error: OSError) -> str:
    """One line that says why results cannot be written."""
    return f"cannot write results under {folder}: {error.strerror or error}; give a writable folder with --out"


def _png(picture: npt.NDArray[Any]) -> bytes:
    ordered = picture[..., ::-1] if picture.ndim == 3 else picture
    _, data = cv2.imencode(".png", np.ascontiguousarray(ordered))
    return data.tobytes()
