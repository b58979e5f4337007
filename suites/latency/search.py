"""The batch of the best throughput: doubling while it pays, then bisection."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

LARGEST = 4096
_PAYS = 1.01
_FINE = 8


class Probe(NamedTuple):
    """Images a second at one batch; `last` where no larger batch is to be tried."""

    images_per_s: float
    last: bool = False


class Found(NamedTuple):
    """The best batch, and `(batch, images a second)` of every one tried, None where it did not fit."""

    batch: int
    tried: list[tuple[int, float | None]]


def best_batch(probe: Callable[[int], Probe | None], *, largest: int = LARGEST) -> Found | None:
    """Find it.

    Batches are doubled until one does not fit, two in a row give no more than the best so far, or one takes too long;
    then the gaps to the best's neighbours are halved until they are an eighth of it. Where the next one above did not
    fit, the throughput was still growing, and only the gap above is looked into.

    Args:
        probe: Measures one batch; None where it does not fit.
        largest: Batch at which to stop.

    Returns:
        None where not even one image fits.
    """
    tried: dict[int, float | None] = {}
    batch, worse = 1, 0
    best, best_rate = 0, 0.0
    while batch <= largest and worse < 2:
        found = probe(batch)
        tried[batch] = None if found is None else found.images_per_s
        if found is None:
            break
        worse = 0 if found.images_per_s > best_rate * _PAYS else worse + 1
        if found.images_per_s > best_rate:
            best, best_rate = batch, found.images_per_s
        if found.last:
            break
        batch *= 2
    if not best:
        return None
    below = max((size for size in tried if size < best), default=best)
    above = min((size for size in tried if size > best), default=best)
    if tried[above] is None or above == best:
        below = best
    while max(best - below, above - best) > max(1, best // _FINE):
        middle = (below + best) // 2 if best - below > above - best else (best + above) // 2
        found = probe(middle)
        tried[middle] = None if found is None else found.images_per_s
        if found is not None and found.images_per_s > best_rate:
            below, above = (below, best) if middle < best else (best, above)
            best, best_rate = middle, found.images_per_s
        elif middle < best:
            below = middle
        else:
            above = middle
    return Found(best, sorted(tried.items()))
