import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from linbench.results.statistics import (
    Interval,
    growth_exponent,
    mean_interval,
    median_interval,
    outliers,
    ratio_interval,
    verdict,
)

times = st.floats(1e-3, 1e6)
blocks = st.lists(st.lists(times, min_size=1, max_size=5), min_size=1, max_size=30)


@given(blocks)
def test_the_interval_holds_the_median_and_stays_within_the_blocks(data):
    medians = [np.median(block) for block in data]
    found = median_interval(data)
    assert min(medians) <= found.low <= found.value <= found.high <= max(medians)
    assert found.value == np.median(medians)


@given(blocks, st.sampled_from([0.5, 2.0, 1024.0]))
def test_a_change_of_unit_changes_nothing_else(data, factor):
    scaled = median_interval([[factor * value for value in block] for block in data])
    found = median_interval(data)
    assert scaled[:3] == tuple(factor * value for value in found[:3])


@given(blocks)
def test_the_order_of_blocks_is_of_no_matter(data):
    assert median_interval(data) == median_interval(data[::-1])


def test_known_order_statistics():
    # From tables of the sign test: the extremes for n = 6, ranks 2 and 9 for n = 10, ranks 6 and 15 for n = 20.
    assert median_interval(range(1, 7)) == Interval(3.5, 1, 6, 1 - 2 / 2**6)
    assert median_interval(range(1, 11))[1:3] == (2, 9)
    assert median_interval(range(1, 11)).level == pytest.approx(1 - 22 / 1024)
    assert median_interval(range(1, 21))[1:3] == (6, 15)
    assert median_interval([[1.0], [2.0], [3.0], [4.0], [5.0]]).level == 0.9375
    assert median_interval([[3.0]]) == Interval(3.0, 3.0, 3.0, 0.0)


def test_thousands_of_samples_do_not_underflow():
    found = median_interval(np.arange(5001.0))
    assert 0.95 <= found.level < 0.954
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(5001) / 2, rel=0.03)


@pytest.mark.parametrize("count", [6, 12, 25])
def test_the_interval_covers_the_true_median_of_correlated_samples(count):
    random = np.random.default_rng(count)
    hits = 0
    for _ in range(600):
        # Skewed times: iterations of a block share its drift, whose median is 1.
        drift = np.exp(0.1 * random.standard_normal((count, 1)))
        found = median_interval(drift + 0.001 * random.standard_normal((count, 9)))
        hits += found.low <= 1.0 <= found.high
    assert hits / 600 >= 0.93


def test_the_mean_interval_covers():
    random = np.random.default_rng(1)
    found = [mean_interval(random.beta(5, 2, 80), resamples=400, seed=seed) for seed in range(300)]
    assert 0.91 <= np.mean([one.low <= 5 / 7 <= one.high for one in found]) <= 0.98
    assert mean_interval([0.2, 0.4, 0.9]) == mean_interval([0.2, 0.4, 0.9])


def test_the_mean_interval_covers_where_values_are_few():
    random = np.random.default_rng(2)
    hits = {}
    for count in (6, 8, 12):
        found = [mean_interval(random.standard_normal(count), resamples=500, seed=seed) for seed in range(400)]
        hits[count] = np.mean([one.low <= 0 <= one.high for one in found])
    assert min(hits.values()) >= 0.92, hits
    assert [mean_interval(range(count), resamples=500).level for count in (1, 2, 5, 6)] == [0.0, 0.5, 0.9375, 0.95]


@given(st.lists(times, min_size=5, max_size=40), st.sampled_from([0.25, 4.0]))
def test_outliers_are_counted_whatever_the_unit(values, factor):
    assert outliers(values) == outliers([factor * value for value in values])
    assert outliers(values) <= len(values) // 2


def test_one_far_sample_is_one_outlier():
    assert outliers([1.0, 1.1, 0.9, 1.05, 0.95, 30.0]) == 1
    assert outliers([1.0, 1.1, 0.9, 1.05, 0.95]) == 0


@given(st.floats(0.2, 3), st.floats(1e-3, 1e3), st.lists(st.integers(16, 20_000), min_size=2, max_size=8, unique=True))
def test_an_exact_power_is_found(exponent, factor, tokens):
    assume(max(tokens) > 1.05 * min(tokens))
    found = growth_exponent(tokens, [factor * size**exponent for size in tokens])
    assert found.exponent == pytest.approx(exponent, rel=1e-6)
    assert found.factor == pytest.approx(factor, rel=1e-4)
    assert (found.stderr is None) == (len(tokens) == 2)


def test_the_exponents_standard_error_is_that_of_the_textbook():
    random = np.random.default_rng(0)
    tokens = np.array([1024, 2304, 4096, 6400, 9216, 12544, 16384])
    fits = [growth_exponent(tokens, tokens**1.5 * np.exp(0.05 * random.standard_normal(7))) for _ in range(800)]
    spread = np.std([fit.exponent for fit in fits])
    assert np.sqrt(np.mean([fit.stderr**2 for fit in fits])) == pytest.approx(spread, rel=0.1)


def test_ties_are_ties():
    a, b = Interval(10, 9, 11, 0.95), Interval(10.5, 9.9, 11.5, 0.95)
    assert verdict(ratio_interval(a, b)) == "tie"
    assert verdict(ratio_interval(Interval(20, 19, 21, 0.95), a)) == "faster"
    assert verdict(ratio_interval(a, Interval(20, 19, 21, 0.95))) == "slower"
    assert ratio_interval(a, b).level == pytest.approx(0.9)


@pytest.mark.parametrize("bad", [[], [[]], [[1.0], []], [[float("nan")]], [[float("inf")]]])
def test_nothing_is_made_of_nothing(bad):
    with pytest.raises(ValueError, match="sample"):
        median_interval(bad)


@pytest.mark.parametrize(
    ("tokens", "latency"), [([4], [1]), ([4, 4], [1, 2]), ([4, 8], [0, 1]), ([0, 8], [1, 1]), ([4, 8, 9], [1, 2])]
)
def test_a_growth_exponent_needs_two_sizes(tokens, latency):
    with pytest.raises(ValueError, match="growth exponent"):
        growth_exponent(tokens, latency)
