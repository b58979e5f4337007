"""The store of processes that work on a run together: each of its rows is written once."""

from __future__ import annotations

from pathlib import Path

from ...results.schema import Row
from ...results.store import Store
from .processes import is_main, world_size


class SharedStore(Store):
    """Reads as any store; the main process writes rows of success, the first one that fails what went wrong.

    What fails in one process is known there alone, and ends the others with errors that say less.
    """

    def check_writable(self) -> None:
        """See `Store`; the main process probes."""
        if is_main():
            super().check_writable()

    def write(self, row: Row) -> Path:
        """Store a row if it is this process's to store; see `Store`."""
        from .shards import is_first

        mine = is_main() if row.status == "ok" else is_first(f"failed {row.cell.key}")
        return super().write(row) if mine else self.root


def store_class() -> type[Store]:
    """The store that this process should use."""
    return Store if world_size() == 1 else SharedStore
