"""The harness against a machine whose truth is known: intervals cover, equal is a tie, drift does no harm."""

import itertools
import math

import numpy as np
import pytest
from linbench.results.statistics import median_interval, paired_ratio, ratio_interval, verdict
from linbench.suites.latency.noise import floor_of
from linbench.suites.runner.sampling import Sampling, Timing, rounds


class FakeMachine:
    """A clock that only blocks move, and a speed that changes with time, from block to block and call to call.

    Args:
        seed: Of the noise.
        block_noise: Spread of whole blocks, which a subject has for itself.
        call_noise: Spread of calls inside a block.
        drift: Growth of all durations in a second.
        skew: Blocks are only ever slower than the truth, never faster.
    """

    def __init__(self, seed, *, block_noise=0.0, call_noise=0.01, drift=0.0, skew=False):
        self.random = np.random.default_rng(seed)
        self.block_noise, self.call_noise, self.drift, self.skew = block_noise, call_noise, drift, skew
        self.now = 0.0

    def block(self, latency_ms, count):
        shift = self.block_noise * self.random.standard_normal()
        speed = math.exp(abs(shift) if self.skew else shift) * (1 + self.drift * self.now)
        block = latency_ms * speed * np.exp(self.call_noise * self.random.standard_normal(count))
        self.now += block.sum() / 1000
        return block.tolist()

    def truth(self, latency_ms):
        """The median over all blocks there could be."""
        return latency_ms * (math.exp(0.67449 * self.block_noise) if self.skew else 1.0)


def take_turns(machine, latencies, timing, seed="0"):
    """Blocks by round of every subject."""
    samplings = {name: Sampling(timing, latency / 1000) for name, latency in latencies.items()}
    taken = {name: {} for name in latencies}
    for name, turn, _ in rounds(dict(samplings), seed):
        block = machine.block(latencies[name], samplings[name].iterations)
        samplings[name].add(block)
        taken[name][turn] = block
    return taken


MACHINES = {
    "quiet": {"block_noise": 0.003},
    "middling": {"block_noise": 0.02},
    "noisy": {"block_noise": 0.06},
    "skewed": {"block_noise": 0.05, "skew": True},
}


def test_the_interval_covers_the_truth_in_95_of_100_runs():
    """2,000 runs through warm-up's successor: blocks, the stop rule and the interval at which it stops."""
    hits = {}
    for kind, noise in MACHINES.items():
        found = []
        for seed in range(500):
            machine = FakeMachine(seed, **noise)
            blocks = take_turns(machine, {"a": 100.0}, Timing())["a"]
            interval = median_interval([*blocks.values()])
            found.append(interval.low <= machine.truth(100.0) <= interval.high)
        hits[kind] = np.mean(found)
    assert 0.93 <= np.mean([*hits.values()]) <= 0.97, hits
    assert min(hits.values()) >= 0.92, hits


def test_a_subject_against_itself_is_a_tie():
    """1,000 A/A comparisons on machines that drift: at most 5 in 100 may call one of two equals the faster."""
    called = []
    for seed in range(1000):
        noise = [*MACHINES.values()][seed % len(MACHINES)]
        machine = FakeMachine(seed, **noise, drift=0.01)
        taken = take_turns(machine, {"a": 100.0, "b": 100.0}, Timing(max_rounds=12), str(seed))
        called.append(verdict(paired_ratio(taken["a"], taken["b"])) != "tie")
    assert np.mean(called) <= 0.05


def test_a_subject_against_itself_is_a_tie_without_time_for_the_rounds():
    """Of slow calls no budget holds six rounds, and so few are not paired."""
    called = []
    for seed in range(1000):
        noise = [*MACHINES.values()][seed % len(MACHINES)]
        taken = take_turns(FakeMachine(seed, **noise), {"a": 100.0, "b": 100.0}, Timing(budget_s=0.1), str(seed))
        one, other = (median_interval([*taken[name].values()]) for name in "ab")
        called.append(verdict(paired_ratio(taken["a"], taken["b"]) or ratio_interval(one, other)) != "tie")
    assert np.mean(called) <= 0.05


def test_a_difference_that_is_there_is_found():
    found = []
    for seed in range(200):
        machine = FakeMachine(seed, block_noise=0.01, drift=0.01)
        taken = take_turns(machine, {"a": 100.0, "b": 105.0}, Timing(), str(seed))
        ratio = paired_ratio(taken["b"], taken["a"])
        found.append(verdict(ratio) == "faster" and ratio.low <= 1.05 <= ratio.high)
    assert np.mean(found) > 0.85


def test_one_after_the_other_fails_under_drift_where_turns_hold():
    """Two equal subjects on a machine that slows down by a hundredth a second."""
    turns, alone = [], []
    for seed in range(100):
        both = take_turns(FakeMachine(seed, block_noise=0.005, drift=0.01), dict.fromkeys("ab", 100.0), Timing())
        turns.append(verdict(paired_ratio(both["a"], both["b"])))
        machine = FakeMachine(seed, block_noise=0.005, drift=0.01)
        first, second = (take_turns(machine, {name: 100.0}, Timing())[name] for name in "ab")
        alone.append(verdict(paired_ratio(first, second)))
    assert turns.count("tie") >= 95
    assert alone.count("tie") <= 5


def test_few_rounds_give_no_paired_ratio():
    five, six = ({turn: [100.0 + turn] for turn in range(count)} for count in (5, 6))
    assert paired_ratio(six, five) is None
    assert paired_ratio(six, six) == (1.0, 1.0, 1.0, 1 - 2**-5)
    shifted = {turn + 1: block for turn, block in six.items()}
    assert paired_ratio(six, shifted) is None, "only five rounds are shared"


def test_the_noise_floor_is_what_equal_work_differs_by():
    def readings(machine):
        moments = {}
        for moment in ("begin", "middle", "end"):
            moments[moment] = [[machine.block(10.0, 10) for _ in "ab"] for _ in range(6)]
            machine.now += 30
        return moments

    still = floor_of(readings(FakeMachine(0, block_noise=0.002, call_noise=0.002)))
    drifting = floor_of(readings(FakeMachine(0, block_noise=0.002, call_noise=0.002, drift=0.001)))
    assert 0 < still["noise_floor"] < 0.01
    assert drifting["noise_floor"] == pytest.approx(0.06, abs=0.01)
    assert drifting["aa_ratio_low"] < 1.001 < 1.01 > drifting["aa_ratio_high"]
    assert still["rounds"] == 18


def test_blocks_are_calibrated_on_the_fake_clock():
    machine = FakeMachine(0)
    taken = take_turns(machine, {"fast": 1.0, "slow": 400.0}, Timing(block_s=0.5, max_rounds=6))
    seconds = {name: [sum(block) / 1000 for block in blocks.values()] for name, blocks in taken.items()}
    assert all(0.45 <= value <= 0.9 for value in itertools.chain(*seconds.values()))
