"""Medians with intervals, outliers and growth exponents, on raw samples that nobody deletes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAD_TO_SD = 1.4826
OUTLIER_SDS = 10.0
Verdict = Literal["faster", "slower", "tie"]


class Interval(NamedTuple):
    """An estimate with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        level: The coverage that holds whatever the distribution; below the level asked for where there are too few
            samples (five blocks give at most 0.9375).
    """

    value: float
    low: float
    high: float
    level: float


class Growth(NamedTuple):
    """The fit `latency = factor * tokens ** exponent`; `stderr` of the exponent is None for two points."""

    exponent: float
    stderr: float | None
    factor: float


def median_interval(blocks: Sequence[ArrayLike], *, level: float = 0.95) -> Interval:
    """Median of the blocks' medians with its order-statistic interval.

    The block is the unit, since iterations inside one are correlated. The interval needs no assumption on the
    distribution but that blocks are independent: between the k-th smallest and k-th largest of n medians lies the
    true one with probability `1 - 2 P(Binomial(n, 1/2) < k)`.

    Args:
        blocks: Samples of each block, at least one sample in each. Single samples count as blocks of one.
        level: Coverage asked for.

    Raises:
        ValueError: There is no block, a block is empty or a sample is not finite.
    """
    medians = np.sort([np.median(_finite(block)) for block in blocks])
    if not medians.size:
        raise ValueError("no samples: expected at least one block")
    rank, attained = _order_rank(medians.size, level)
    return Interval(float(np.median(medians)), float(medians[rank - 1]), float(medians[-rank]), attained)


def _order_rank(count: int, level: float) -> tuple[int, float]:
    rank, attained, tail = 1, 1.0 - 2.0 ** (1 - count), 2.0**-count
    for k in range(2, count // 2 + 1):
        # In logarithms: 2 ** -count underflows for the thousands of samples that a fast kernel gives.
        tail += math.exp(math.lgamma(count + 1) - math.lgamma(k) - math.lgamma(count - k + 2) - count * math.log(2))
        if 1.0 - 2.0 * tail < level:
            break
        rank, attained = k, 1.0 - 2.0 * tail
    return rank, attained


def mean_interval(values: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Mean of independent values (per-image scores) with its percentile-bootstrap interval.

    Resamples of few values spread less than such samples do, so the interval is widened about the mean as Student's t
    is over the normal (T. Hesterberg, What Teachers Should Know About the Bootstrap, 2015). Below six values no
    interval reaches 0.95; its `level` says so.

    Raises:
        ValueError: There is no value or one is not finite.
    """
    sample = _finite(values)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 1000):  # a slice at a time, so that 10,000 x 5,000 images need no 400 MB
        picks = random.integers(0, sample.size, (min(1000, resamples - start), sample.size))
        means[start : start + 1000] = sample[picks].mean(axis=1)
    mean, widening = float(sample.mean()), _widening(sample.size, level)
    low, high = mean + widening * (np.quantile(means, [(1 - level) / 2, (1 + level) / 2]) - mean)
    return Interval(mean, float(low), float(high), min(level, 1.0 - 2.0 ** (1 - sample.size)))


def _widening(count: int, level: float) -> float:
    """Student's t over the normal quantile, by Cornish and Fisher's expansion, times what a resample spreads less."""
    if count < 2:
        return 1.0
    square, freedom = NormalDist().inv_cdf((1 + level) / 2) ** 2, count - 1
    student = 1 + (square + 1) / (4 * freedom) + (5 * square**2 + 16 * square + 3) / (96 * freedom**2)
    return student * math.sqrt(count / freedom)


def outliers(values: ArrayLike) -> int:
    """How many samples lie more than ten standard deviations (from the MAD) off the median; none is removed."""
    sample = _finite(values)
    distance = np.abs(sample - np.median(sample))
    return int(np.sum(distance > OUTLIER_SDS * MAD_TO_SD * np.median(distance)))


def growth_exponent(tokens: ArrayLike, latency: ArrayLike) -> Growth:
    """Least-squares line through `log latency` over `log tokens`.

    Args:
        tokens: Token counts `[n]`, positive, at least two different ones.
        latency: Times `[n]` in any unit, positive.

    Raises:
        ValueError: Fewer than two different token counts, or a value that is not positive and finite.
    """
    size, time = _finite(tokens), _finite(latency)
    if size.shape != time.shape or np.unique(size).size < 2 or (size <= 0).any() or (time <= 0).any():
        raise ValueError("a growth exponent needs positive times at two or more different positive token counts")
    x, y = np.log(size), np.log(time)
    spread = x - x.mean()
    exponent = float(spread @ y / (spread @ spread))
    offset = float(y.mean() - exponent * x.mean())
    if x.size == 2:
        return Growth(exponent, None, math.exp(offset))
    residual = y - offset - exponent * x
    stderr = math.sqrt(float(residual @ residual) / (x.size - 2) / float(spread @ spread))
    return Growth(exponent, stderr, math.exp(offset))


def paired_ratio(
    numerator: Mapping[int, ArrayLike], denominator: Mapping[int, ArrayLike], *, level: float = 0.95
) -> Interval | None:
    """Median over rounds of the ratio of two subjects that took turns, with its order-statistic interval over rounds.

    What slows a round slows both, so it leaves the ratio alone. Over so few rounds a bootstrap's interval is too
    narrow to keep its level; between order statistics the level holds whatever the distribution.

    Args:
        numerator: Samples of a block by its round.
        denominator: Likewise.
        level: Coverage asked for.

    Returns:
        None where too few rounds are shared to reach the level.
    """
    shared = sorted(numerator.keys() & denominator.keys())
    if 1.0 - 2.0 ** (1 - len(shared)) < level:
        return None
    medians = [[float(np.median(_finite(side[turn]))) for turn in shared] for side in (numerator, denominator)]
    return median_interval([above / below for above, below in zip(*medians, strict=True)], level=level)


def ratio_interval(numerator: Interval, denominator: Interval) -> Interval:
    """Ratio of two positive estimates, with the widest interval that their own intervals allow.

    Conservative: unlike paired rounds it assumes nothing about how the two were interleaved.
    """
    return Interval(
        numerator.value / denominator.value,
        numerator.low / denominator.high,
        numerator.high / denominator.low,
        max(0.0, numerator.level + denominator.level - 1.0),
    )


def verdict(speed_up: Interval) -> Verdict:
    """Whether a speed-up is one: a tie when its interval holds 1."""
    if speed_up.low <= 1.0 <= speed_up.high:
        return "tie"
    return "faster" if speed_up.low > 1.0 else "slower"


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError("expected at least one sample, all of them finite numbers")
    return sample
