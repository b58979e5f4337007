"""Files that exist whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write_atomic(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` so that a reader, at any time and after any kill, sees all of it or no file.

    The bytes go to a hidden temporary name in the same folder, are flushed to the disk and get their name only then;
    the folder is flushed too. A killed process leaves at most a hidden `.part` file, which readers ignore.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        OSError: The disk is full, read-only, or the folder may not be written.
    """
    _make_folder(path.parent)
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        _write_all(temporary, data)
        if overwrite:
            temporary.replace(path)
        else:
            _give_name(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    missing = []
    parent = folder
    while not parent.exists() and parent != parent.parent:
        missing.append(parent)
        parent = parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_folder(made.parent)


def _write_all(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
    try:
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)
            if written <= 0:
                raise OSError(errno.ENOSPC, "the disk took no more bytes")
            rest = rest[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_name(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)  # unlike a rename, a link never replaces what another process put there
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(path)) from None
        temporary.rename(path)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EROFS}:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
