"""The store of a process that works with others on a run: the main one writes their rows."""

from __future__ import annotations

from pathlib import Path

from ...results.schema import Row
from ...results.store import Store
from .processes import is_main


class FollowerStore(Store):
    """Reads as any store; writes what went wrong here, and leaves the rows of success to the main process."""

    def check_writable(self) -> None:
        """See `Store`; the main process probes."""

    def write(self, row: Row) -> Path:
        """Store a row that is not ok; see `Store`."""
        return self.root if row.status == "ok" else super().write(row)


def store_class() -> type[Store]:
    """The store that this process should use."""
    return Store if is_main() else FollowerStore
