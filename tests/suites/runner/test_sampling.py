"""Warm-up, block sizes, stopping and turns, with made-up durations instead of a clock."""

import gc
import itertools
import random
import time
from collections import Counter

import pytest
from linbench.suites.runner.sampling import Sampling, Timing, rounds, time_block, warm_up
from linbench.suites.runner.timed import timed_metrics


def test_warm_up_drops_the_cold_calls():
    durations = itertools.chain([1.0, 0.6, 0.3, 0.2], itertools.repeat(0.1))
    warm = warm_up(lambda: next(durations), limit_s=60)
    assert warm.stable
    assert warm.iteration_s == pytest.approx(0.1)
    assert warm.iterations > 6


def test_warm_up_that_never_settles_says_so():
    durations = itertools.count(1.0, 0.5)
    warm = warm_up(lambda: next(durations), limit_s=60)
    assert warm.stable is False
    assert warm.iterations < 20


def test_a_warm_up_without_time_to_compare_does_not_say():
    assert warm_up(lambda: 2.0, limit_s=5, least=10) == (2, 2.0, None)


def test_warm_up_of_a_fast_step_fills_its_least_time():
    warm = warm_up(lambda: 0.001, limit_s=60, least_s=0.3)
    assert warm.stable
    assert warm.iterations >= 300


def test_warm_up_of_a_tiny_step_costs_little_itself():
    shaky = itertools.cycle([1e-5] * 7 + [3e-5] * 5)
    started = time.monotonic()
    assert warm_up(lambda: next(shaky), limit_s=2).iterations > 10_000
    assert time.monotonic() - started < 10


def test_time_block_holds_the_collector_off():
    assert time_block(gc.isenabled, 3) == [False] * 3
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("iteration_s", "iterations"),
    [(0.01, 50), (0.4, 2), (0.6, 1), (20.0, 1)],
)
def test_blocks_fill_half_a_second_within_the_budget(iteration_s, iterations):
    assert Sampling(Timing(block_s=0.5, budget_s=30), iteration_s).iterations == iterations


def test_a_small_budget_shortens_the_blocks():
    assert Sampling(Timing(block_s=0.5, rounds=5, budget_s=0.5), 0.01).iterations == 8


def test_calls_a_little_slower_than_in_the_warm_up_do_not_cost_a_round():
    sampling = Sampling(Timing(budget_s=0.3), 0.0036)
    for turn, _ in enumerate(rounds({"a": sampling}, "0")):
        sampling.add([1.15 * 3.6 * (1 + 0.1 * (turn % 3))] * sampling.iterations)
    assert len(sampling.blocks) == 6
    assert sampling.spent_s <= 0.31


def run_alone(duration, timing):
    sampling = Sampling(timing, duration)
    for turn, _ in enumerate(rounds({"a": sampling}, "0")):
        sampling.add([1000 * duration * (1 + 0.2 * (turn % 3))] * sampling.iterations)
    return sampling


def test_a_slow_cell_takes_four_samples_and_says_it_has_not_converged():
    sampling = run_alone(40.0, Timing(budget_s=30))
    assert len(sampling.blocks) == 4
    assert not sampling.converged


def test_a_noisy_cell_ends_with_its_budget():
    sampling = run_alone(0.5, Timing(budget_s=10, max_rounds=1000))
    assert not sampling.converged
    assert 8 <= sampling.spent_s <= 10.6


def test_a_quiet_cell_ends_after_the_rounds():
    sampling = Sampling(Timing(rounds=6), 0.1)
    for _ in rounds({"a": sampling}, "0"):
        sampling.add([100.0] * sampling.iterations)
    assert sampling.converged
    assert len(sampling.blocks) == 6


def test_a_99th_percentile_needs_662_samples():
    prepared = {"warmup_stable": True, "first_call_s": 1.0}
    for count, there in ((661, False), (662, True)):
        sampling = Sampling(Timing(), 0.001, blocks=[[1.0] * 600, [1.0] * (count - 600)])
        assert ("latency_ms_p99" in timed_metrics("latency_ms", sampling, prepared)) == there


def test_turns_are_shuffled_complete_and_repeatable():
    def order(seed):
        samplings = {name: Sampling(Timing(rounds=8), 0.1) for name in "abc"}
        taken = []
        for name, turn, place in rounds(samplings, seed):
            samplings[name].add([100.0])
            taken.append((turn, place, name))
        return taken

    taken = order("0")
    assert taken == order("0") != order("1")
    assert Counter(turn for turn, _, _ in taken) == dict.fromkeys(range(8), 3)
    assert len({tuple(name for turn, _, name in taken if turn == index) for index in range(8)}) > 1


def test_who_leaves_is_not_asked_again():
    samplings = {name: Sampling(Timing(rounds=5), 0.1) for name in "ab"}
    asked = Counter()
    for name, _, _ in rounds(samplings, "0"):
        asked[name] += 1
        if name == "b":
            del samplings["b"]
        else:
            samplings[name].add([100.0])
    assert asked == {"a": 5, "b": 1}


def test_turns_beat_one_after_the_other_under_drift():
    """A machine that slows down steadily: the ratio of two equal subjects is nearer to 1 when they take turns."""

    def ratio(interleave):
        clock = itertools.count()
        medians = []
        samplings = {name: Sampling(Timing(rounds=9, max_rounds=9), 0.5) for name in "ab"}
        groups = [samplings] if interleave else [{name: sampling} for name, sampling in samplings.items()]
        for group in groups:
            for name, _, _ in rounds(group, "3"):
                samplings[name].add([100.0 + 5 * next(clock) + random.Random(0).random()])
        for sampling in samplings.values():
            medians.append(sorted(block[0] for block in sampling.blocks)[4])
        return medians[1] / medians[0]

    assert abs(ratio(True) - 1) < 0.25 * abs(ratio(False) - 1)
