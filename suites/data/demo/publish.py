"""A folder of demo data that appears under its name only when it is whole."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ....errors import DataError, UsageError

MANIFEST = "manifest.json"
GENERATOR = "linbench-demo"


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of demo data at `root`, or None where `root` holds something else or nothing.

    Raises:
        DataError: There is a manifest that cannot be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is unreadable ({error}); delete {root} and run `bench data demo` again") from error
    return manifest if isinstance(manifest, dict) and manifest.get("generator") == GENERATOR else None


def drawn_once(target: Path, wanted: Mapping[str, Any], fill: Callable[[Path], dict[str, str]]) -> Path:
    """Draw demo data into a folder, or find them drawn.

    Args:
        target: The folder; it must not be there yet, be empty, or hold the same demo data.
        wanted: What the manifest says of them: seed, counts, version.
        fill: Draws into the folder it is given and returns the SHA-256 of each file by its path there.

    Returns:
        `target`.

    Raises:
        UsageError: `target` holds something else.
        DataError: The folder cannot be written.
    """
    wanted = {"generator": GENERATOR, **wanted}
    if (found := read_manifest(target)) is not None:
        if {key: found.get(key) for key in wanted} == wanted:
            return target
        raise UsageError(
            f"{target} holds demo data of another seed, size or version; choose another folder or delete it"
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not empty and holds no demo data; choose another folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            files = fill(draft)
            text = json.dumps({**wanted, "files": dict(sorted(files.items()))}, indent=1)
            (draft / MANIFEST).write_text(text, "utf-8")
            _publish(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"demo data cannot be written to {target}: {error}; choose another folder or free space"
        ) from error
    return target


def _publish(draft: Path, target: Path) -> None:
    draft.chmod(0o755)
    try:
        draft.replace(target)
    except OSError:
        # Another process that drew the same data may have been first; its result is as good.
        if read_manifest(target) is None:
            raise
