"""Work on a stream by threads, results in the stream's order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def in_order(
    function: Callable[[In], Out], items: Iterable[In], pool: Executor | None, *, ahead: int = 4
) -> Iterator[Out]:
    """`map(function, items)`, with up to `ahead` calls running while the caller works on a result.

    Items are drawn no faster than that, so memory stays flat however long the stream is.

    Args:
        function: Called once for each item, in a thread of the pool; an error is raised where its result is due.
        items: Drawn in the caller's thread.
        pool: Where the calls run; None to make them in the caller's thread.
        ahead: Calls begun before the first result is taken.
    """
    if pool is None:
        yield from map(function, items)
        return
    pending: deque[Future[Out]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
