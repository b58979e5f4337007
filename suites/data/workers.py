"""Worker processes that do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """In a process of `multiprocessing`: end it when the process that started it is gone, even by `kill -9`.

    Workers wait on a pipe of which they hold both ends, and those of a fork server have that server for a parent, so
    none of them would notice.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="end_with_parent", daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
