"""What `bench kernels` is asked to do: selection of cases, sizes of one's own, and one clear line for bad input."""

from pathlib import Path

import pytest
from linbench.errors import UsageError
from linbench.suites.kernels.options import KernelOptions
from linbench.suites.kernels.suite import SUITE

PLUGS = Path(__file__).parent / "kernel_plugs"


@pytest.fixture(autouse=True)
def odd_operators(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGS))


def options(**given):
    return KernelOptions(**{"source": "odd_operators:CASES", "threads": (1,), **given})


def names(**given):
    return [case.name for _, case in options(**given).cases()]


def test_cases_are_selected_by_name_pattern_and_sizes():
    assert names() == ["small", "wide"]
    assert names(shapes=("wi*",)) == ["wide"]
    assert names(shapes=("C=128",)) == ["small C=128"]
    assert names(shapes=("*", "C=128, B=2")) == ["small B=2,C=128", "wide B=2,C=128"]
    assert names(shapes=("small", "C=64")) == ["small"], "sizes that it has already change nothing"


def test_sizes_of_ones_own_do_not_enlarge_the_size_for_checks():
    ((_, case),) = options(shapes=("wide", "C=32")).cases()
    assert case.shape == {"B": 4, "C": 32}
    assert case.checked() == case.shape
    ((_, case),) = options(shapes=("wide", "C=8192")).cases()
    assert case.checked() == {"B": 4, "C": 64}


def test_a_plan_has_a_cell_for_each_combination():
    given = options(shapes=("small",), backends=("torch", "gpu"), dtypes=("fp32", "bf16"), threads=(1, 2))
    cells = SUITE.plan(given)
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 2
    assert {cell.backbone for cell in cells} == {"doubling"}
    assert {cell.params["cache"] for cell in cells} == {"warm"}
    groups = [{**cell.params, "backend": ""} for cell in cells]
    assert groups[::2] == groups[1::2], "what is compared stands side by side"


def test_on_cuda_calls_are_timed_alone_and_in_a_graph_in_two_dtypes():
    cells = SUITE.plan(options(shapes=("small",), backends=("torch",), directions=("forward",), device="cuda"))
    assert [(cell.params["dtype"], cell.params["launch"], cell.params["cache"]) for cell in cells] == [
        ("fp32", "eager", "cold"),
        ("fp32", "graph", "warm"),
        ("bf16", "eager", "cold"),
        ("bf16", "graph", "warm"),
    ]
    assert {(cell.params["device"], cell.params["threads"]) for cell in cells} == {("cuda:0", None)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operators": ("doublin",)}, "unknown operator 'doublin'. Did you mean 'doubling'"),
        ({"shapes": ("smal",)}, "unknown shape of doubling 'smal'. Did you mean 'small'"),
        ({"shapes": ("T=5",)}, "has the dimensions B, C, got 'T'"),
        ({"shapes": ("C=0",)}, "sizes are at least 1, got C=0"),
        ({"shapes": ("C=many",)}, "shape 'C=many' cannot be read"),
        ({"backends": ("torhc",)}, "unknown backend 'torhc'. Did you mean 'torch'"),
        ({"dtypes": ("fp64",)}, "dtype 'fp64' is not known; expected one of fp32, bf16, fp16"),
        ({"device": "tpu"}, "device 'tpu' is not known"),
        ({"launches": ("graph",)}, "needs a CUDA device"),
        ({"threads": (0,)}, "threads is 0"),
        ({"directions": ()}, "neither forward nor backward"),
        ({"budget_s": 0}, "budget_s is 0"),
        ({"source": "no_such_module:CASES"}, "cannot be imported as module:attribute"),
        ({"source": "odd_operators"}, "cannot be imported as module:attribute"),
    ],
)
def test_bad_input_is_one_line(given, message):
    with pytest.raises(UsageError) as error:
        options(**given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
