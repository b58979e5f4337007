import pytest
import torch
from linbench.kernels.bi_wkv import cases as bi_wkv_cases
from linbench.kernels.cases import Work
from linbench.kernels.q_shift import cases as q_shift_cases


def by_name(cases, operator, name):
    return next(case for case in cases if (case.operator, case.name) == (operator, name))


@pytest.mark.parametrize("case", [*bi_wkv_cases.CASES, *q_shift_cases.CASES], ids=lambda c: f"{c.operator} {c.name}")
def test_cases_run_at_small_sizes(case):
    small = case.resized({letter: min(size, 6) for letter, size in case.shape.items()})
    inputs = small.inputs(small.shape, torch.Generator().manual_seed(0))
    assert set(case.float32) <= set(inputs)
    outputs = small.call(inputs, "torch")
    assert all(output.isfinite().all() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))


def test_the_work_of_bi_wkv_is_counted_by_hand():
    # 1 image, 2 tokens, 3 channels: 6 elements of 2 bytes; decay and bonus are 3 float32 each.
    shape = {"B": 1, "T": 2, "C": 3}
    plain = by_name(bi_wkv_cases.CASES, "bi_wkv", "rwkvsam-s 1024")
    assert plain.forward(shape, 2) == Work(29 * 6, (6 + 6 + 6) * 2 + 24, 6)
    assert plain.backward(shape, 2) == Work(58 * 6, (6 * 6) * 2 + 6 * 4 + 24 + 24, 12)
    gated = by_name(bi_wkv_cases.CASES, "bi_wkv", "rwkvsam-s 1024 gate")
    assert gated.forward(shape, 2) == Work(29 * 6 + 18, (4 * 6) * 2 + 24, 12)
    assert gated.backward(shape, 2) == Work(58 * 6 + 42, (8 * 6) * 2 + 6 * 4 + 48, 18)


def test_the_work_of_q_shift_is_counted_by_hand():
    # 1 image of 2 x 2 tokens, 3 channels: 12 elements of 2 bytes; two outputs.
    shape = {"B": 1, "H": 2, "W": 2, "C": 3, "M": 2}
    mix = by_name(q_shift_cases.CASES, "q_shift_mix", "rwkvsam-s 1024")
    assert mix.forward(shape, 2) == Work(12 * (1 + 2 + 2), (12 + 24) * 2 + 6 * 4)
    assert mix.backward(shape, 2) == Work(12 * (1 + 6 + 6), (12 + 24 + 12) * 2 + 12 * 4)
    assert by_name(q_shift_cases.CASES, "q_shift", "rwkvsam-s 1024").forward(shape, 2) == Work(0, 48)
