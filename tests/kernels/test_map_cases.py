"""Work that the cases of the map scans and of the attentions declare, counted by hand on tiny shapes."""

import pytest
import torch
from linbench.kernels.cases import Work, operator_cases

OPERATORS = (
    "atrous_merge",
    "atrous_scan",
    "cross_merge",
    "cross_scan",
    "dilated_attention",
    "selective_scan_2d",
    "sliding_window_attention",
    "taylor_linear_attention",
    "window_attention",
)
ALL = operator_cases()
SMALL = {operator: next(case for case in ALL[operator] if case.name == "odd") for operator in OPERATORS}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_small_cases_run_and_agree_with_the_reference(case):
    inputs = case.inputs(case.checked(), torch.Generator().manual_seed(0))
    exact = {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}
    torch.testing.assert_close(case.call(inputs, "auto").double(), case.call(exact, "reference"), rtol=1e-4, atol=1e-5)


def test_no_case_checks_more_than_it_measures():
    for operator in OPERATORS:
        for case in ALL[operator]:
            assert all(case.checked()[letter] <= size for letter, size in case.shape.items())
            assert all(
                work.flops >= 0 and work.bytes > 0
                for work in (case.forward(case.shape, 4), case.backward(case.shape, 2))
            )


def work(operator, backward=False, **shape):
    case = SMALL[operator]
    return (case.backward if backward else case.forward)({**case.shape, **shape}, 4)


def test_scans_of_maps_move_each_value_once():
    # 2 images of 3 channels, 5 x 7 pixels: 210 values, four copies.
    assert work("cross_scan", B=2, C=3, H=5, W=7) == Work(0, 4 * 5 * 210)
    assert work("cross_merge", B=2, C=3, H=5, W=7) == Work(3 * 210, 4 * 5 * 210)
    assert work("cross_scan", True, B=2, C=3, H=5, W=7) == work("cross_merge", B=2, C=3, H=5, W=7)
    # Padded to 6 x 8: 288 slots.
    assert work("atrous_scan", B=2, C=3, H=5, W=7) == Work(0, 4 * (210 + 288))
    assert work("atrous_merge", B=2, C=3, H=5, W=7) == Work(0, 4 * 420)


def test_scan_of_one_pixel():
    # One pixel, one channel, one state: four steps of nine for the state and two for D; softplus has an exponential and
    # a logarithm, the state's decay one more exponential.
    forward = work("selective_scan_2d", B=1, D=1, H=1, W=1, N=1)
    # x and y, delta, B and C in four directions; A, D and the bias of four.
    assert forward == Work(flops=4 * 11, bytes=4 * (2 + 4 + 8 + 12), exps=12)
    backward = work("selective_scan_2d", True, B=1, D=1, H=1, W=1, N=1)
    # Read x, g, delta, B, C; written the gradients of x, delta, B, C; parameters both ways.
    assert backward.bytes == 4 * (2 + 4 + 8 + 1 + 4 + 8 + 2 * 12)


def test_attention_counts_its_pairs():
    # Windows of 14 on 15 x 14: 196 + 14 tokens.
    window = work("window_attention", B=1, h=2, H=15, W=14, E=3)
    assert window == Work(flops=2 * 2 * (196**2 + 14**2) * 6, bytes=4 * 2 * 210 * 12, exps=2 * (196**2 + 14**2))
    sliding = work("sliding_window_attention", B=1, h=1, N=130, E=1)
    # The first token sees itself, the 129th and the 130th see 129.
    assert sliding.exps == sum(range(1, 130)) + 129
    # The segments (50, 3) and (197, 4) of one token: each head has or has not taken it.
    assert work("dilated_attention", B=1, h=3, N=1, E=1).exps == 2
    assert work("dilated_attention", B=1, h=1, N=6, E=1).exps == 2**2 + 2**2
    # Two features of one width: 1, x, x * x.
    taylor = work("taylor_linear_attention", B=1, h=1, N=1, E=1, F=1)
    assert taylor == Work(flops=2 * 3 + 2 * 3 * 2 + 2 * 3 * 2 + 1, bytes=4 * 4)
