"""The order in which training shows its images: a new permutation every epoch, the same for every number of workers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class EpochOrder:
    """Places of a stream of epochs, each of which shows every item once.

    Args:
        seed: Another seed is another order.
        count: Items in an epoch.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.seed = seed
        self.count = count
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None

    def __getitem__(self, position: int) -> int:
        """The item at a position of the stream; it depends on nothing that was asked for before."""
        epoch, place = divmod(position, self.count)
        order = self._order
        if order is None or order[0] != epoch:
            order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(self.count)
            self._order = order
        return int(order[1][place])
