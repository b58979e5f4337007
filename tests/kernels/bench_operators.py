"""Times the CPU operators against one `nn.Linear` on the same tokens, and measures their peak memory.

Not collected by default; run
`pytest tests/kernels/bench_operators.py --benchmark-enable --benchmark-group-by=param:tokens`.
The goals, at 2 threads in float32: Bi-WKV forward at most 0.5 of the linear layer's time, backward at most 1.5,
q-shift with mix at most 0.5, peak extra memory at most 3 times `v`.
"""

import subprocess
import sys

import pytest
import torch
from linbench.kernels import bi_wkv, q_shift_mix
from torch import nn

CHANNELS = 384

PEAK = """
import resource, sys, torch
from linbench.kernels import bi_wkv
torch.set_num_threads(2)
tokens, backward = int(sys.argv[1]), sys.argv[2] == "backward"
small = [x.requires_grad_() for x in (torch.zeros(384), torch.zeros(384), *torch.randn(2, 1, 64, 384))]
torch.autograd.grad(bi_wkv(*small), small, torch.ones(1, 64, 384))
decay, bonus, g, k, v = *torch.zeros(2, 384), *torch.randn(3, 1, tokens, 384)
leaves = [x.clone().requires_grad_(backward) for x in (decay, bonus, k, v)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if backward:
    y = bi_wkv(*leaves)
before = peak()
if backward:
    torch.autograd.grad(y, leaves, g)
else:
    bi_wkv(*leaves)
print((peak() - before) * 1024 / (v.numel() * 4))
"""


@pytest.fixture(params=[4096, 16384], ids=lambda tokens: f"T{tokens}")
def tokens(request):
    return request.param


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def wkv_inputs(tokens, requires_grad):
    torch.manual_seed(0)
    decay, bonus = torch.randn(2, CHANNELS) / tokens
    k, v = torch.randn(2, 1, tokens, CHANNELS)
    return [x.requires_grad_(requires_grad) for x in (decay, bonus, k, v)]


def measure(benchmark, function, *args, **kwargs):
    benchmark.pedantic(function, args, kwargs, rounds=30, warmup_rounds=3)


def test_linear(benchmark, tokens):
    layer, x = nn.Linear(CHANNELS, CHANNELS), torch.randn(1, tokens, CHANNELS)
    with torch.no_grad():
        measure(benchmark, layer, x)


def test_bi_wkv_forward(benchmark, tokens):
    measure(benchmark, bi_wkv, *wkv_inputs(tokens, False), backend="cpu")


def test_bi_wkv_forward_for_training(benchmark, tokens):
    measure(benchmark, bi_wkv, *wkv_inputs(tokens, True), backend="cpu")


def test_bi_wkv_backward(benchmark, tokens):
    inputs = wkv_inputs(tokens, True)
    y = bi_wkv(*inputs, backend="cpu")
    measure(benchmark, torch.autograd.grad, y, inputs, torch.randn_like(y), retain_graph=True)


def test_q_shift_mix_forward(benchmark, tokens):
    side = int(tokens**0.5)
    x, mix = torch.randn(1, tokens, CHANNELS), torch.rand(3, CHANNELS)
    measure(benchmark, q_shift_mix, x, mix, (side, side), backend="cpu")


def test_q_shift_mix_backward(benchmark, tokens):
    side = int(tokens**0.5)
    x, mix = torch.randn(1, tokens, CHANNELS, requires_grad=True), torch.rand(3, CHANNELS, requires_grad=True)
    outputs = q_shift_mix(x, mix, (side, side), backend="cpu")
    grads = [torch.randn_like(x) for _ in outputs]
    measure(benchmark, torch.autograd.grad, outputs, (x, mix), grads, retain_graph=True)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_peak_memory_of_bi_wkv(tokens, direction):
    command = [sys.executable, "-I", "-c", PEAK, str(tokens), direction]
    times_v = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert times_v <= 3
