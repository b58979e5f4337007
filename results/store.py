"""The results folder: one row, one file, never rewritten."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import re
import secrets
import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ..errors import StoreError, UsageError
from .files import write_atomic
from .provenance import device_name
from .schema import Cell, Row, canonical_json
from .series import newest

SIDE_FILE_BYTES = 16 * 1024
_SUITE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_BACKBONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+@/-]{0,149}")
_STAMP = "%Y%m%dT%H%M%S%fZ"
_STAMP_IN_NAME = re.compile(r"-(\d{8}T\d{12}Z)-")


class UnsavedRowError(StoreError):
    """A finished row could not be stored.

    Attributes:
        row_json: The whole row as one line of JSON, for the caller to print, so that the measurement is not lost.
    """

    def __init__(self, message: str, row_json: str) -> None:
        super().__init__(message)
        self.row_json = row_json


class Scan(NamedTuple):
    """What the store holds, and one line for each file in it that is not a readable row."""

    rows: list[Row]
    problems: list[str]


class Files(NamedTuple):
    """As `Scan`, each row with its file."""

    rows: list[tuple[Path, Row]]
    problems: list[str]


def folder_name(name: str) -> str:
    """A backbone's name as one safe folder name (`timm:resnet50` becomes `timm%3Aresnet50`).

    Raises:
        UsageError: The name could leave its folder or is not one that a registry gives.
    """
    if not _BACKBONE.fullmatch(name) or any(part in {"", ".", ".."} for part in name.split("/")):
        raise UsageError(f"{name!r} is not a backbone name: letters, digits and . _ : + @ / - are allowed, no '..'")
    return quote(name, safe="")


def backbone_name(folder: str) -> str:
    """The backbone whose rows lie in `folder`: the reverse of `folder_name`."""
    return unquote(folder)


class Store:
    """Rows under `<root>/runs/<suite>/<backbone>/<cell-key>-<utc>-<pid>-<random>.json`.

    Any number of processes may write at once: every row has a name of its own and appears whole or not at all.

    Args:
        root: The results folder.
        installation: Name that rows written here bear. `done` then takes rows of that name only: those that came
            with a clone or from a colleague are reported but stop no measurement. None: rows bear no name, any counts.
    """

    def __init__(self, root: Path | str, *, installation: str | None = None) -> None:
        self.root = Path(root)
        self.installation = installation

    def check_writable(self) -> None:
        """Write and remove a probe file, so that a long run does not end at a read-only folder.

        Raises:
            StoreError: The folder cannot be written.
        """
        probe = self.root / "runs" / f".probe-{secrets.token_hex(8)}"
        try:
            write_atomic(probe, b"linbench\n")
            probe.unlink()
        except OSError as error:
            raise StoreError(self._complaint(error)) from error

    def write(self, row: Row) -> Path:
        """Store `row` for good and return its file.

        Numbers that JSON has no word for (NaN, infinities) are stored as null. Samples above 16 KiB go to a
        `.samples.json.gz` file beside the row, written first and named with its SHA-256 in the row. The row's file
        holds the SHA-256 of all the rest of it, by which a later edit is known.

        Raises:
            UsageError: The suite's or backbone's name is not one.
            UnsavedRowError: The disk is full, read-only or the folder may not be written; carries the row.
        """
        folder = self._folder(row.cell)
        data = _plain(row.to_dict())
        if self.installation is not None:
            data["provenance"]["installation"] = self.installation
        now = datetime.now(timezone.utc)
        try:
            stem = f"{row.cell.key}-{self._stamp(folder, row.cell, now)}-{os.getpid()}-{secrets.token_hex(4)}"
            path = folder / f"{stem}.json"
            stored = self._with_side_file(data, folder, stem)
            write_atomic(path, _dump({**stored, "sha256": _digest(stored)}))
        except OSError as error:
            row_json = json.dumps(data, sort_keys=True, separators=(",", ":"))
            raise UnsavedRowError(self._complaint(error), row_json) from error
        return path

    def scan(self, suite: str | None = None) -> Scan:
        """Read every row (of one suite), oldest first within a cell; what cannot be read is named, not fatal."""
        found, problems = self.files(suite)
        return Scan([row for _, row in found], problems)

    def files(self, suite: str | None = None) -> Files:
        """As `scan`, each row with the file that it is in."""
        folder = self.root / "runs" if suite is None else self.root / "runs" / _suite_name(suite)
        rows: list[tuple[Path, Row]] = []
        problems: list[str] = []
        for path in sorted(folder.rglob("*.json"), key=_order):
            if not path.name.startswith("."):
                row, problem = _read(path)
                rows.extend([(path, row)] if row else [])
                problems.extend([f"{path.relative_to(self.root)}: {problem}"] if problem else [])
        return Files(rows, problems)

    def rows(self, suite: str | None = None) -> list[Row]:
        """Every readable row; a warning names the files that are none."""
        rows, problems = self.scan(suite)
        for problem in problems:
            warnings.warn(f"not a readable row: {problem}", stacklevel=2)
        return rows

    def latest(self, suite: str | None = None) -> list[Row]:
        """The newest row of each cell on each device; see `series.newest`."""
        return newest(self.rows(suite))

    def done(self, cell: Cell, *, device: str | None = None) -> Row | None:
        """The newest ok row of `cell`, which resume takes instead of measuring again.

        Args:
            cell: What is about to be measured.
            device: Accept only a row measured on this device (`provenance.collect()["device"]["name"]`), for
                measurements that are of the device, as latency is.
        """
        paths = sorted(self._folder(cell).glob(f"{cell.key}-*.json"), key=_order, reverse=True)
        for row, _ in map(_read, paths):
            if row is None or row.status != "ok" or row.cell.key != cell.key:
                continue
            if self.installation not in (None, row.provenance.get("installation")):
                continue
            if device is None or device_name(row) == device:
                return row
        return None

    def _folder(self, cell: Cell) -> Path:
        folder = self.root / "runs" / _suite_name(cell.suite) / folder_name(cell.backbone)
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"{folder} leads out of the results folder {self.root}; remove the link")
        return folder

    def _stamp(self, folder: Path, cell: Cell, now: datetime) -> str:
        # A clock set back must not make an older row of this cell look newer than this one.
        stamps = [
            found.group(1) for path in folder.glob(f"{cell.key}-*.json") if (found := _STAMP_IN_NAME.search(path.name))
        ]
        if stamps and max(stamps) >= now.strftime(_STAMP):
            now = datetime.strptime(max(stamps), _STAMP) + timedelta(microseconds=1)
        return now.strftime(_STAMP)

    def _with_side_file(self, data: dict[str, Any], folder: Path, stem: str) -> dict[str, Any]:
        samples = _dump(data["samples"])
        if len(samples) <= SIDE_FILE_BYTES:
            return data
        packed = gzip.compress(samples, mtime=0)
        name = f"{stem}.samples.json.gz"
        write_atomic(folder / name, packed)
        return {**data, "samples": {}, "samples_file": {"name": name, "sha256": hashlib.sha256(packed).hexdigest()}}

    def _complaint(self, error: OSError) -> str:
        reason = error.strerror or str(error)
        advice = "free space there or give a writable folder (--results DIR or LINBENCH_RESULTS)"
        return f"cannot write results under {self.root}: {reason}; {advice}"


def _suite_name(name: str) -> str:
    if not _SUITE.fullmatch(name):
        raise UsageError(f"{name!r} is not a suite name: lower-case letters, digits and . _ - are allowed")
    return name


def _order(path: Path) -> tuple[str, str, str, str]:
    found = _STAMP_IN_NAME.search(path.name)
    return str(path.parent), path.name[:16], found.group(1) if found else "", path.name


def _dump(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _digest(data: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in data.items() if name != "sha256"}
    return hashlib.sha256(canonical_json(rest).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return _plain(value.tolist())
    return str(value)


def _read(path: Path) -> tuple[Row | None, str | None]:
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or "cell" not in data:
            return None, "no row of LinBench"
        row = Row.from_dict(data)
        edit = _edit(data, row)
        if edit is not None:
            return None, edit
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"unreadable ({type(error).__name__}: {error})"
    side = data.get("samples_file")
    if side is None:
        return row, None
    try:
        row.samples = _read_samples(path.parent / Path(side["name"]).name, side["sha256"])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        return row, f"its samples are unreadable ({error})"
    return row, None


def _edit(data: Mapping[str, Any], row: Row) -> str | None:
    if data["cell"].get("key") != row.cell.key:
        return "the cell's key does not fit the cell: the file was edited"
    # Rows written before there was a digest have none.
    if "sha256" in data and data["sha256"] != _digest(data):
        return "its SHA-256 does not fit the rest: the file was edited"
    return None


def _read_samples(path: Path, sha256: str) -> dict[str, list[Any]]:
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise ValueError(f"{path.name} has another SHA-256 than its row says")
    samples: dict[str, list[Any]] = json.loads(gzip.decompress(packed))
    return samples
