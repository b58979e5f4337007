"""Times the CPU kernels of the selective scan and the causal convolution against the best pure PyTorch form.

Not collected by default; run
`pytest tests/kernels/bench_scans.py --benchmark-enable --benchmark-group-by=param:case,param:direction`.
The column `extra_info` of a saved run holds nanoseconds per (token, channel, state) and core.
The goals: at most 1.2 of them for the scan of 16 states, and a fifth of the PyTorch form's time.
"""

import pytest
import torch
from linbench.kernels.causal_conv1d.cases import CASES as CONVOLUTIONS
from linbench.kernels.selective_scan.cases import CASES as SCANS

CHOSEN = [case for case in (*SCANS, *CONVOLUTIONS) if "1024" in case.name]


@pytest.fixture(autouse=True, params=[1, 2], ids=lambda count: f"threads{count}")
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: f"{case.operator} {case.name}")
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_speed(benchmark, case, direction, backend, threads):
    tensors = case.inputs(case.shape, torch.Generator().manual_seed(0))
    rounds = {"rounds": 5, "warmup_rounds": 1}
    if direction == "forward":
        with torch.no_grad():
            benchmark.pedantic(case.call, (tensors, backend), **rounds)
    else:
        leaves = {name: x.requires_grad_() for name, x in tensors.items()}
        y = case.call(leaves, backend)
        call = (y, list(leaves.values()), torch.randn_like(y))
        benchmark.pedantic(torch.autograd.grad, call, {"retain_graph": True}, **rounds)
    if benchmark.stats:
        elements = case.shape["B"] * case.shape["D"] * case.shape["L"] * case.shape.get("N", 1)
        benchmark.extra_info["ns per element and core"] = benchmark.stats["median"] * 1e9 * threads / elements
