"""Where data and caches lie."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The cache folder: `LINBENCH_CACHE`, else `linbench` in the user's cache folder. Not created here."""
    if chosen := os.environ.get("LINBENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linbench"


def data_root(root: Path | str | None = None) -> Path | None:
    """The data root: `root`, else `LINBENCH_DATA`, else None (the demo data are meant)."""
    if root is not None:
        return Path(root)
    chosen = os.environ.get("LINBENCH_DATA")
    return Path(chosen) if chosen else None
