"""Folders that must take files, and the disk and memory behind them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from ..inventory import Records
from .findings import DEFAULT_COMMANDS, RUN, Fault

GIB = 2**30
# Demo data, and two checkpoints of RWKV-SAM-S with optimiser state: a new one is whole before the old one goes.
RUN_DISK_GIB = 1.0
ROWS_DISK_GIB = 0.1
LARGEST_FILE_GIB = 0.5


def check_folders(results: Path, cache: Path) -> tuple[Records, list[Fault]]:
    """Try to write in each folder and look at the disk behind it; folders made for the trial are removed again."""
    records: Records = []
    faults: list[Fault] = []
    for title, folder, wanted, stops in (
        ("results", results, ROWS_DISK_GIB, DEFAULT_COMMANDS),
        ("cache", cache, RUN_DISK_GIB, DEFAULT_COMMANDS),
        ("temporary files", Path(tempfile.gettempdir()), ROWS_DISK_GIB, (RUN,)),
    ):
        variable = "TMPDIR" if title == "temporary files" else f"LINBENCH_{title.upper()}"
        problem = write_problem(folder)
        free = shutil.disk_usage(_existing(folder)).free / GIB
        if problem:
            what = f"the {title} folder {folder} cannot be written ({problem})"
            faults.append(Fault(what, f"set {variable} to one that can be", stops))
        elif free < wanted:
            what = f"the disk of the {title} folder {folder} has {free:.2f} GiB free, {RUN} needs {wanted:g}"
            faults.append(Fault(what, f"free some, or set {variable} to a folder on another disk", (RUN,)))
        records.append(
            {"folder": title, "path": str(folder), "free GiB": round(free, 1), "state": problem or "can be written"}
        )
    largest = _largest_file()
    if largest is not None and largest < LARGEST_FILE_GIB * GIB:
        what = f"no file may be larger than {largest / 2**20:.0f} MiB here, checkpoints of {RUN} are"
        faults.append(Fault(what, "`ulimit -f unlimited`", (RUN,)))
    return records, faults


def write_problem(folder: Path) -> str:
    """Why no file can be written in a folder, made or to be made; empty where it can."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    probe = folder / f".linbench-probe-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(bytes(65536))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        _remove(probe, made)
    return ""


def _remove(probe: Path, made: list[Path]) -> None:
    # Another process may have begun to use the folder, or it could not be made in the first place.
    for remove in (probe.unlink, *(folder.rmdir for folder in made)):
        with contextlib.suppress(OSError):
            remove()


def _existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(p for p in (absolute, *absolute.parents) if p.is_dir())


def _largest_file() -> int | None:
    """Bytes that one file may have by the limits of this process, None where there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
