"""Times the scans of maps and the local attentions against their plain PyTorch forms, at 1024-pixel shapes.

Not collected by default; run
`pytest tests/kernels/bench_layouts.py --benchmark-enable --benchmark-group-by=group,param:case`.
The goal, at 2 threads in float32, forward: each numba kernel at least 5 times as fast as the plain PyTorch form.
"""

import pytest
import torch
from linbench.kernels import cross_merge, cross_scan, selective_scan
from linbench.kernels.cases import operator_cases
from torch.nn import functional as F

SCANS = ("cross_scan", "cross_merge", "atrous_scan", "atrous_merge", "selective_scan_2d")
ATTENTIONS = ("dilated_attention", "window_attention", "sliding_window_attention", "taylor_linear_attention")


def cases(operators):
    found = [case for operator in operators for case in operator_cases()[operator] if case.name != "odd"]
    return pytest.mark.parametrize("case", found, ids=lambda case: f"{case.operator} {case.name}")


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def inputs(case, requires_grad=False):
    tensors = case.inputs(case.shape, torch.Generator().manual_seed(0))
    return {name: x.requires_grad_(requires_grad and x.is_floating_point()) for name, x in tensors.items()}


def measure(benchmark, function, *args, **kwargs):
    benchmark.pedantic(function, args, kwargs, rounds=10, warmup_rounds=2)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@cases(SCANS)
def test_forward(benchmark, case, backend):
    benchmark.group = "forward"
    measure(benchmark, case.call, inputs(case), backend)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@cases(SCANS)
def test_backward(benchmark, case, backend):
    benchmark.group = "backward"
    tensors = inputs(case, requires_grad=True)
    y = case.call(tensors, backend)
    leaves = [x for x in tensors.values() if x.requires_grad]
    measure(benchmark, torch.autograd.grad, y, leaves, torch.randn_like(y), retain_graph=True)


@cases(["selective_scan_2d"])
def test_scan_of_four_copies(benchmark, case):
    """What the fused scan replaces: cross-scan, a scan along the sequence, cross-merge."""
    benchmark.group = "forward"
    x, delta, A, B, C, D, bias = inputs(case).values()
    height, width = x.shape[2:]
    own = [cross_scan(t.flatten(1, 2)).unflatten(2, (4, -1)) for t in (delta, B, C)]
    steps, Bs, Cs = (torch.stack([t[:, k, k] for k in range(4)], 1) for t in own)

    def run():
        y = selective_scan(
            cross_scan(x).flatten(1, 2), steps.flatten(1, 2), A, Bs, Cs, D, None, bias, delta_softplus=True
        )
        return cross_merge(y.unflatten(1, (4, -1)).unflatten(3, (height, width)))

    measure(benchmark, run)


@cases(ATTENTIONS)
def test_attention(benchmark, case):
    benchmark.group = "forward"
    measure(benchmark, case.call, inputs(case), "auto")


def test_full_attention(benchmark):
    """What dilated attention of an encoder of SAM-Lightening's kind replaces."""
    benchmark.group = "forward"
    q, k, v = torch.randn(3, 1, 12, 4096, 64)
    measure(benchmark, F.scaled_dot_product_attention, q, k, v)
