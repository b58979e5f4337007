"""Splits a compiled loop over threads.

Plain Python threads run the kernels, which release the GIL: unlike numba's own layers this may be called from several
Python threads at once, survives a fork, and changes no global setting.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_PIECES_PER_THREAD = 4
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(helpers: int) -> ThreadPoolExecutor:
    key = (os.getpid(), helpers)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(helpers, thread_name_prefix="linbench-kernel")
    return _pools[key]


def parallel_for(function: Callable[..., None], count: int, *args: Any, grain: int = 1) -> None:
    """Calls `function(first, last, *args)` over pieces of `range(count)`, on `torch.get_num_threads()` threads.

    Args:
        function: A compiled kernel; pieces must not depend on one another.
        count: Number of items.
        *args: Passed on to every call.
        grain: Fewest items worth a piece of their own.
    """
    threads = min(torch.get_num_threads(), count // grain)
    if threads <= 1:
        function(0, count, *args)
        return
    pieces = min(threads * _PIECES_PER_THREAD, count // grain)
    tickets = itertools.count()

    def work() -> None:
        # next() on a count is atomic under the GIL, so each piece is taken once.
        while (piece := next(tickets)) < pieces:
            function(count * piece // pieces, count * (piece + 1) // pieces, *args)

    helpers = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        # One that has not begun (its thread serves another caller) finds nothing left to do.
        if not helper.cancel():
            helper.result()
