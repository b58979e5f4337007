"""The work that an operator's cases declare: the FLOPs that torch's counter counts, and its tensors moved once."""

import pytest
import torch
from linbench.kernels.cases import operator_cases
from linbench.kernels.flops import register_flop_formulas
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

CASES = [case for cases in operator_cases().values() for case in cases]


def names(case):
    return f"{case.operator}: {case.name}"


def is_counted(case):
    """Whether a model's count has it: published counts leave out work on single elements (q-shift's mix, the gate)."""
    one_node = any(hasattr(torch.ops.linbench, case.operator + suffix) for suffix in ("", "_forward"))
    return one_node and case.operator != "q_shift_mix" and "gate" not in case.name


def outputs_of(results):
    return (results,) if isinstance(results, torch.Tensor) else tuple(results)


@pytest.mark.parametrize("case", [case for case in CASES if is_counted(case)], ids=names)
def test_declared_flops_are_the_counted_ones(case):
    register_flop_formulas()
    with FakeTensorMode(allow_non_fake_inputs=True):
        inputs = case.inputs(case.shape, torch.Generator())
        leaves = [x.requires_grad_() for x in inputs.values() if x.is_floating_point()]
        with FlopCounterMode(display=False) as counter:
            outputs = outputs_of(case.call(inputs, "auto"))
        forward = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(outputs, leaves, [torch.empty_like(y) for y in outputs], materialize_grads=True)
    assert forward == case.forward(case.shape, 4).flops
    assert counter.get_total_flops() == case.backward(case.shape, 4).flops


@pytest.mark.parametrize("case", CASES, ids=names)
def test_declared_bytes_hold_every_input_and_output_once(case):
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        inputs = case.inputs(case.shape, torch.Generator())
        outputs = outputs_of(case.call(inputs, "auto"))
    tensors = [*inputs.values(), *outputs]
    touched = sum(x.nbytes for x in tensors)
    # Padding need not be touched, and small things like a bias may be left out.
    assert 0.7 * touched <= case.forward(case.shape, 4).bytes <= 1.01 * touched
    assert case.backward(case.shape, 4).bytes >= 0.5 * touched


@pytest.mark.parametrize("case", CASES, ids=names)
def test_half_the_element_is_about_half_the_bytes_and_as_many_operations(case):
    for work in (case.forward, case.backward):
        wide, short = work(case.shape, 4), work(case.shape, 2)
        assert (wide.flops, wide.exps) == (short.flops, short.exps)
        assert wide.bytes / 2 <= short.bytes <= wide.bytes


def test_names_of_cases_are_unique_and_checks_are_of_their_own_dimensions():
    assert len({(case.operator, case.name) for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case.check) <= set(case.shape), names(case)
        assert all(size <= case.shape[letter] for letter, size in case.check.items()), names(case)
        assert not set(case.name) & set("=,"), f"{names(case)}: '=' and ',' are for sizes on the command line"
