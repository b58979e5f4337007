"""Official checkpoints on this machine: where they lie, whether they are whole, and getting those that are not here."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..errors import UsageError, WeightsError
from ..settings import cache_root
from .checkpoints import BY_HAND, CHECKPOINTS, Checkpoint, checkpoints_for
from .download import fetch_hub, fetch_url, free_space, offline, progress_bar

OFFICIAL = "official"
STAMP = ".checked.json"


def weights_root(cache: Path | None = None) -> Path:
    """The folder of downloaded weights, `weights` in the cache folder (`cache`: that one instead of the set one)."""
    return cache_root(cache) / "weights"


def cached_path(checkpoint: Checkpoint, *, cache: Path | None = None) -> Path:
    """Where a checkpoint lies, or will lie, on this machine."""
    return weights_root(cache) / checkpoint.subject / checkpoint.file


def is_cached(checkpoint: Checkpoint, *, cache: Path | None = None) -> bool:
    """Whether the file is there; `obtain` and `bench weights check` look into it."""
    return cached_path(checkpoint, cache=cache).is_file()


def resolve_weights(name: str, weights: str | os.PathLike[str]) -> Path:
    """The file that `weights` means for a backbone or system; one that is not here is downloaded.

    Args:
        name: Backbone or system.
        weights: A path; `official` for the default official checkpoint of that name; `official:<tag>` for another.

    Raises:
        UsageError: No official checkpoint of that name or tag is known.
        WeightsError: It cannot be downloaded, or is not the published one.
    """
    checkpoint = official_checkpoint(name, str(weights))
    return Path(weights).expanduser() if checkpoint is None else obtain(checkpoint)


def official_checkpoint(name: str, weights: str) -> Checkpoint | None:
    """The official checkpoint that `weights` means for a backbone or system; None where it means a path.

    Raises:
        UsageError: No official checkpoint of that name or tag is known.
    """
    word, colon, tag = weights.partition(":")
    if word != OFFICIAL:
        return None
    known = checkpoints_for(name)
    if not known:
        why = next((text for start, text in BY_HAND.items() if name.startswith(start)), "give a path")
        raise UsageError(f"no official weights are known for '{name}': {why}")
    if not colon:
        return known[0]
    found = next((checkpoint for checkpoint in known if checkpoint.tag == tag), None)
    if found is None:
        tags = ", ".join(f"{OFFICIAL}:{checkpoint.tag}" for checkpoint in known)
        raise UsageError(f"'{name}' has no official weights '{tag}'; there are {tags}")
    return found


def find_checkpoint(name: str) -> Checkpoint:
    """The official checkpoint `<backbone or system>`, or `<backbone or system>:<tag>` where there are several.

    Raises:
        UsageError: No such name; the message suggests near ones.
    """
    subject, _, tag = (name, "", "") if name.startswith("timm:") else name.partition(":")
    known = checkpoints_for(subject)
    if not known and not any(name.startswith(start) for start in BY_HAND):
        near = difflib.get_close_matches(subject, {s for c in CHECKPOINTS for s in c.subjects}, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"no official weights are called '{name}'.{hint} `bench weights list` shows all.")
    found = official_checkpoint(subject, f"{OFFICIAL}:{tag}" if tag else OFFICIAL)
    return found or known[0]


def obtain(checkpoint: Checkpoint, *, cache: Path | None = None) -> Path:
    """The checkpoint's file, verified; downloaded where it is not here. Any number of processes may ask at once.

    A file appears under its name whole and verified, or not at all. What was verified is not read again until its size
    or time changes.

    Raises:
        WeightsError: It cannot be downloaded or written, or is not the published file.
    """
    path = cached_path(checkpoint, cache=cache)
    if _stamped(path) is not None:
        return path
    if not path.is_file() and (variable := offline()):
        raise WeightsError(
            f"{checkpoint.name} is not here and {variable} forbids downloads; get {checkpoint.address} elsewhere "
            f"and put it at {path}"
        )
    from filelock import FileLock  # only needed to download

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            # Another process may have fetched it while this one waited for the lock.
            if _stamped(path) is None:
                fetched, stated = (path, "") if path.is_file() else _download(checkpoint, path)
                recorded = _read_stamp(path).get("sha256", "")
                sha256, fault = examine(checkpoint, fetched, stated=stated, recorded=recorded)
                if fault:
                    bad = path.with_name(path.name + ".bad")
                    fetched.replace(bad)
                    other = f", or remove {_stamp_path(path).name} beside it to take another file" if recorded else ""
                    raise WeightsError(
                        f"{checkpoint.name} from {checkpoint.address} {fault}; it is kept as {bad}: get it again{other}"
                    )
                fetched.replace(path)
                _sync_folder(path.parent)
                _stamp(path, checkpoint, sha256)
                shutil.rmtree(_hub_folder(path), ignore_errors=True)
    except OSError as error:
        # In a folder that others filled and this user cannot write to, every use reads the file again.
        if path.is_file() and not examine(checkpoint, path, recorded=_read_stamp(path).get("sha256", ""))[1]:
            return path
        raise WeightsError(
            f"cannot write {checkpoint.name} below {path.parent}: {error.strerror or error}; free space there, or set "
            "LINBENCH_CACHE to another folder"
        ) from error
    return path


def examine(checkpoint: Checkpoint, path: Path, *, stated: str = "", recorded: str = "") -> tuple[str, str]:
    """Hold a file against what is known of it.

    Args:
        checkpoint: What it should be: its published size and digest are asked for.
        path: The file.
        stated: SHA-256 that the server stated, if it did.
        recorded: SHA-256 at the first download, which counts where none is published.

    Returns:
        Its SHA-256, and what is wrong with it, both digests named; empty if nothing is.
    """
    kind, _, published = checkpoint.digest.partition(":")
    found = _digests(path, {"sha256", kind} if kind else {"sha256"})
    size = path.stat().st_size
    if checkpoint.size is not None and size != checkpoint.size:
        return found["sha256"], f"has {size:,} bytes, expected {checkpoint.size:,}"
    for what, expected, got in (
        (f"published {checkpoint.digest_kind}", published, found.get(kind, "")),
        ("server's sha256", stated, found["sha256"]),
        ("sha256 of the first download", "" if published else recorded, found["sha256"]),
    ):
        if not got.startswith(expected):
            return found["sha256"], f"has the digest {got}, expected the {what} {expected}"
    return found["sha256"], ""


def recorded_sha256(checkpoint: Checkpoint, *, cache: Path | None = None) -> str:
    """SHA-256 that was recorded when the checkpoint's file was first verified here; empty where none was."""
    sha256: str = _read_stamp(cached_path(checkpoint, cache=cache)).get("sha256", "")
    return sha256


def _download(checkpoint: Checkpoint, path: Path) -> tuple[Path, str]:
    """Fetch the file beside `path`, under another name; that name, and the SHA-256 that the server stated."""
    if checkpoint.size is not None and free_space(path.parent) < checkpoint.size:
        raise WeightsError(
            f"{checkpoint.name} needs {checkpoint.size:,} bytes and {path.parent} has {free_space(path.parent):,}; "
            "free space there, or set LINBENCH_CACHE to another folder"
        )
    if checkpoint.repo:
        stated = fetch_hub(checkpoint.repo, checkpoint.file, checkpoint.revision, _hub_folder(path))
        return _hub_folder(path) / checkpoint.file, stated
    part = path.with_name(path.name + ".part")
    with progress_bar(checkpoint.file) as advance:
        fetch_url(checkpoint.address, part, size=checkpoint.size, advance=advance)
    return part, ""


def _digests(path: Path, kinds: set[str]) -> dict[str, str]:
    makers: dict[str, Any] = {"sha256": hashlib.sha256, "md5": hashlib.md5, "git": hashlib.sha1}
    found = {kind: makers[kind](usedforsecurity=False) for kind in kinds}
    if "git" in found:
        found["git"].update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for digest in found.values():
                digest.update(block)
    return {kind: digest.hexdigest() for kind, digest in found.items()}


def _hub_folder(path: Path) -> Path:
    """Where the hub's client keeps what it has of a file until it is whole."""
    return path.with_name(path.name + ".hub")


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + STAMP)


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_stamp_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _stamped(path: Path) -> str | None:
    """SHA-256 of a file that was verified and has not changed since; None where it must be read."""
    stamp = _read_stamp(path)
    try:
        state = path.stat()
    except OSError:
        return None
    same = stamp.get("size") == state.st_size and stamp.get("mtime_ns") == state.st_mtime_ns
    return stamp.get("sha256") if same else None


def _stamp(path: Path, checkpoint: Checkpoint, sha256: str) -> None:
    state = path.stat()
    record = {
        "name": checkpoint.name,
        "address": checkpoint.address,
        "sha256": sha256,
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns,
    }
    stamp = _stamp_path(path)
    temporary = stamp.with_name(stamp.name + ".part")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(stamp)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
