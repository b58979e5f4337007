"""Ordered work by threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from linbench.suites.data.parallel import in_order


@pytest.fixture(params=[0, 1, 4])
def pool(request):
    if not request.param:
        yield None
        return
    with ThreadPoolExecutor(request.param) as found:
        yield found


def test_order_is_the_streams(pool):
    assert list(in_order(lambda n: n * n, range(50), pool)) == [n * n for n in range(50)]


def test_items_are_drawn_no_further_than_ahead():
    drawn = []

    def items():
        for n in range(100):
            drawn.append(n)
            yield n

    with ThreadPoolExecutor(2) as pool:
        results = in_order(str, items(), pool, ahead=3)
        assert next(results) == "0"
        assert len(drawn) == 4
        results.close()


def test_an_error_comes_where_its_result_was_due(pool):
    def fail_at_three(n):
        if n == 3:
            raise ValueError("three")
        return n

    results = in_order(fail_at_three, range(10), pool)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_calls_overlap():
    both = threading.Barrier(2, timeout=20)
    with ThreadPoolExecutor(2) as pool:
        assert len(list(in_order(lambda _: both.wait(), range(2), pool))) == 2
