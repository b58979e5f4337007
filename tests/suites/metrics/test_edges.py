import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from linbench.suites.metrics.edges import EDGE_PERCENT, NO_EDGE, edge_errors


def by_hand(pred, truth):
    """Every pixel's nearest pixel of the other side, one by one."""
    sides = [np.argwhere(truth), np.argwhere(~truth)]
    counts = np.zeros((2, len(EDGE_PERCENT)), int)
    for place in np.ndindex(truth.shape):
        other = sides[1] if truth[place] else sides[0]
        distance = np.sqrt(((other - np.array(place)) ** 2).sum(axis=1)).min() - 0.5
        percent = np.float32(100 * distance / np.hypot(*truth.shape))
        index = next(i for i, end in enumerate(EDGE_PERCENT) if percent <= np.float32(end))
        counts[:, index] += pred[place] != truth[place], 1
    return tuple(counts[0]), tuple(counts[1])


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (7, 9)), arrays(bool, (7, 9)))
def test_counts_are_those_of_every_pixels_nearest_neighbour(pred, truth):
    found = edge_errors(pred, truth)
    if truth.all() or not truth.any():
        assert found == NO_EDGE
    else:
        assert (found.wrong, found.pixels) == by_hand(pred, truth)
        assert sum(found.pixels) == truth.size
        assert sum(found.wrong) == (pred != truth).sum()


def test_counts_add_up_and_masks_of_other_sizes_are_refused():
    truth = np.arange(100).reshape(10, 10) < 50
    one = edge_errors(~truth, truth)
    assert (one + one).wrong == tuple(2 * count for count in one.wrong)
    assert one + NO_EDGE == one
    with pytest.raises(ValueError, match="one size"):
        edge_errors(truth, truth[:5])
