"""Rows by their place in the page's list."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import Row


class Places:
    """Finds the place of a row, also of a copy that bears another cell (as rows of mixed devices do).

    A row is known by its very dictionary of metrics, which such copies share.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows  # kept alive, so that no other object can get one of these identities
        self._places = {id(row.metrics): place for place, row in enumerate(rows)}

    def of(self, row: Row) -> int:
        """The place of `row`.

        Raises:
            KeyError: It is not one of the rows.
        """
        return self._places[id(row.metrics)]
