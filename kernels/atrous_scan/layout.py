"""The sub-grids of an atrous scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class SubGrid(NamedTuple):
    """Pixels (top + i * step, left + j * step); `by_columns` if they are read column by column."""

    top: int
    left: int
    by_columns: bool


def sub_grids(step: int) -> Iterator[SubGrid]:
    """The `step * step` sub-grids in the order of the scan's second dimension."""
    return (SubGrid(top, left, top % 2 == 1) for left in range(step) for top in range(step))


def sub_grid_size(height: int, width: int, step: int) -> tuple[int, int]:
    """Height and width of every sub-grid, of the map padded to multiples of `step`."""
    return -(-height // step), -(-width // step)
