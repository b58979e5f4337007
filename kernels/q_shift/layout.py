"""Which channels and tokens q-shift moves, and where to."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Channels `first:last` of token (y, x) come from token (y + dy, x + dx); outside the grid there is zero."""

    first: int
    last: int
    dy: int
    dx: int


class Grid(NamedTuple):
    """`tokens` tokens of an image: `lead` that stay, `height * width` row by row, and maybe more that stay."""

    height: int
    width: int
    lead: int
    tokens: int


def channel_cuts(channels: int, gamma: float) -> list[int]:
    """Where the four shifted groups begin, and where the last of them ends."""
    return [int(channels * gamma * part) for part in range(5)]


def channel_groups(channels: int, shift: int, gamma: float) -> list[Group]:
    """The four shifted groups (content moves right, left, down, up) and the channels that stay."""
    cuts = channel_cuts(channels, gamma)
    moves = ((0, -shift), (0, shift), (-shift, 0), (shift, 0))
    groups = [Group(cuts[i], cuts[i + 1], dy, dx) for i, (dy, dx) in enumerate(moves)]
    groups.append(Group(cuts[4], channels, 0, 0))
    return [group for group in groups if group.first < group.last]


def reversed_groups(groups: list[Group]) -> list[Group]:
    """The groups of the adjoint: every move turned round."""
    return [Group(first, last, -dy, -dx) for first, last, dy, dx in groups]
