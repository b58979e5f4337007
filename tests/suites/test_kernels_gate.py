"""What counts as right, the calls that are timed, and the machine's rates."""

import math
from pathlib import Path

import pytest
import torch
from linbench.suites.kernels.call import Call
from linbench.suites.kernels.clocks import HostClock
from linbench.suites.kernels.gate import errors, verdict
from linbench.suites.kernels.rates import Rates
from linbench.suites.kernels.rows import bound_s

PLUGS = Path(__file__).parent / "kernel_plugs"


@pytest.fixture
def case(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGS))
    from odd_operators import CASES

    return CASES[0]


def call(case, **given):
    given = {"backend": "torch", "direction": "forward", "dtype": torch.float32, "seed": 0, **given}
    return Call(case, case.shape, device=torch.device("cpu"), **given)


def test_errors_are_relative_and_of_the_worst_tensor():
    truth = {"a": torch.tensor([3.0, 4.0]).double(), "b": torch.tensor([100.0]).double()}
    found = errors({"a": torch.tensor([3.0, 4.5]), "b": torch.tensor([101.0])}, truth)
    assert found.where == "a"
    assert found.rms == pytest.approx(0.5 / 5)
    assert found.largest == pytest.approx(0.5 / 4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_wrong_whatever_the_rest(value):
    found = errors({"y": torch.tensor([1.0, value])}, {"y": torch.ones(2).double()})
    assert "not finite" in verdict(found, torch.bfloat16, against="the truth")


def test_zeros_are_right_where_the_truth_is_zero():
    assert errors({"y": torch.zeros(3)}, {"y": torch.zeros(3).double()}).rms == 0
    assert errors({"y": torch.full((3,), 1e-3)}, {"y": torch.zeros(3).double()}).rms > 1


def test_a_missing_tensor_or_another_shape_is_an_error():
    with pytest.raises(ValueError, match="the truth has y"):
        errors({}, {"y": torch.ones(1)})
    with pytest.raises(ValueError, match=r"y has the shape \[2\]"):
        errors({"y": torch.ones(2)}, {"y": torch.ones(1)})


def test_one_wrong_element_among_many_is_wrong():
    truth = torch.randn(100_000).double()
    got = truth.float()
    got[5] += 0.02
    found = errors({"y": got}, {"y": truth})
    assert found.rms < 1e-4
    assert verdict(found, torch.float32, against="the truth")
    assert not verdict(found, torch.bfloat16, against="the truth")


def test_the_truth_is_computed_from_the_rounded_inputs(case):
    rounded = call(case, dtype=torch.bfloat16).results()["output"]
    exact = call(case, dtype=torch.bfloat16, exact=True).results()["output"]
    assert exact.dtype == torch.float64
    assert torch.equal(rounded.double(), exact), "doubling is exact in any dtype"


def test_a_backward_call_gives_named_gradients_again_and_again(case):
    backward = call(case, direction="backward")
    first, second = backward.results(), backward.results()
    assert list(first) == ["gradient of x"]
    assert torch.equal(first["gradient of x"], second["gradient of x"])
    assert torch.equal(first["gradient of x"], call(case, direction="backward", backend="slow").results().popitem()[1])


def test_the_host_clock_times_calls_one_by_one(case):
    samples = HostClock(call(case, backend="slow")).block(3)
    assert len(samples.ms) == 3
    assert all(10 <= ms < 200 for ms in samples.ms)


def test_rates_are_kept_when_a_later_look_is_slower(monkeypatch):
    from linbench.suites.kernels import rates as module

    monkeypatch.setitem(module._LARGE_BYTES, "cpu", 2**16)
    monkeypatch.setitem(module._MATRIX_SIDES, "cpu", (16, 32))
    rates = Rates(torch.device("cpu"))
    first = rates.measure(torch.bfloat16, launch="eager", work_bytes=2**12)
    monkeypatch.setattr(HostClock, "once", lambda self: 1.0)
    assert rates.measure(torch.bfloat16, launch="eager", work_bytes=2**12) == first
    assert first["copy_bytes_per_s"] >= first["large_copy_bytes_per_s"] > 1e6
    assert first["exps_by"] == "numba"
    assert first["exps_per_s"] > 1e6


def test_the_bound_is_the_longest_of_the_three():
    rates = {"copy_bytes_per_s": 10.0, "matrix_flops_per_s": 100.0, "exps_per_s": 1.0}
    assert bound_s({**rates, "bytes": 20, "flops": 100, "exps": 1}) == 2
    assert bound_s({**rates, "bytes": 20, "flops": 1000, "exps": 1}) == 10
    assert bound_s({**rates, "bytes": 20, "flops": 100, "exps": 30}) == 30
    assert bound_s({**rates, "bytes": 20, "flops": 100, "exps": 30, "exps_per_s": None}) == 2
