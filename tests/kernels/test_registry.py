import subprocess
import sys
import warnings

import pytest
import torch
from linbench.errors import BackendError, UsageError
from linbench.kernels import (
    bi_wkv,
    operator_backends,
    q_shift,
    q_shift_mix,
    register_flop_formulas,
    registry,
    resolve_backend,
    triton_tools,
)
from torch.utils.flop_counter import FlopCounterMode


def test_auto_prefers_the_compiled_kernel_and_names_the_rest():
    assert resolve_backend("bi_wkv", "cpu", torch.float32) == "cpu"
    assert resolve_backend("bi_wkv", "cpu", torch.bfloat16) == "cpu"
    assert resolve_backend("bi_wkv", "cpu", torch.float64) == "torch"
    assert resolve_backend("bi_wkv", "cpu", torch.float32, convention="cuda") == "reference"
    assert resolve_backend("q_shift_mix", torch.device("cpu"), torch.float32, "torch") == "torch"


def test_the_slow_form_on_an_accelerator_is_said_once(monkeypatch):
    monkeypatch.setattr(registry, "_warned", set())
    monkeypatch.setattr(triton_tools, "_INSTALLED", False)
    with pytest.warns(UserWarning, match="bi_wkv on cuda runs in its pure PyTorch form"):
        assert resolve_backend("bi_wkv", "cuda", torch.float32) == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_backend("bi_wkv", "cuda:1", torch.float32)


def test_unknown_names_list_the_known():
    with pytest.raises(UsageError, match="q_shift_mix"):
        resolve_backend("qshift", "cpu", torch.float32)
    with pytest.raises(UsageError, match="cpu, triton, torch, reference and auto"):
        resolve_backend("bi_wkv", "cpu", torch.float32, "fastest")


def test_a_missing_package_turns_its_backend_off_with_a_reason(monkeypatch):
    monkeypatch.setattr(registry, "_operators", dict(registry._operators))
    monkeypatch.setattr(registry, "_absent", set())
    backends = (registry.Backend("fast", module="no_such_package"), registry.Backend("torch"))
    registry.register_operator("op", backends)
    assert resolve_backend("op", "cpu", torch.float32) == "torch"
    with pytest.raises(BackendError, match="no_such_package is not installed"):
        resolve_backend("op", "cpu", torch.float32, "fast")
    status = {(row.operator, row.backend): row for row in operator_backends()}
    assert not status["op", "fast"].available
    assert "no_such_package" in status["op", "fast"].reason
    assert status["op", "torch"] == ("op", "torch", True, "")
    assert {"bi_wkv", "q_shift", "q_shift_mix"} <= {operator for operator, _ in status}


@pytest.mark.parametrize(
    ("installed", "interpreted", "visible", "capability", "device", "reason"),
    [
        (False, False, True, (9, 0), "cuda", "triton is not installed"),
        (True, False, False, (9, 0), "cuda", "sees no GPU"),
        (True, False, True, (7, 5), "cuda", "capability 7.5, the kernels need 8.0"),
        (True, False, True, (9, 0), "cpu", "TRITON_INTERPRET=1"),
        (True, True, True, (9, 0), "cuda", "TRITON_INTERPRET=1 is set"),
        (True, True, False, (9, 0), "cpu", ""),
        (True, False, True, (9, 0), "cuda", ""),
    ],
)
def test_triton_serves_gpus_or_says_why_not(monkeypatch, installed, interpreted, visible, capability, device, reason):
    monkeypatch.setattr(triton_tools, "_INSTALLED", installed)
    monkeypatch.setattr(triton_tools, "INTERPRETED", interpreted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    if reason:
        with pytest.raises(BackendError, match=f"bi_wkv: backend 'triton'.*{reason}"):
            resolve_backend("bi_wkv", device, torch.bfloat16, "triton")
        assert resolve_backend("bi_wkv", "cpu", torch.bfloat16) == "cpu"
    else:
        assert resolve_backend("bi_wkv", device, torch.bfloat16, "triton") == "triton"
        assert resolve_backend("bi_wkv", device, torch.bfloat16) == {"cpu": "cpu", "cuda": "triton"}[device]
    (row,) = (s for s in operator_backends() if (s.operator, s.backend) == ("bi_wkv", "triton"))
    assert row.available == (not triton_tools.triton_refusal("cuda") or not triton_tools.triton_refusal("cpu"))
    assert row.available != bool(row.reason)


def block(x, mix, decay, bonus):
    k, v = q_shift_mix(x, mix, (4, 4))
    return bi_wkv(decay, bonus, k, v * q_shift(v, (4, 4)), gate=k)


def block_inputs():
    torch.manual_seed(0)
    shapes = ((2, 16, 8), (2, 8), (8,), (8,))
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def test_compiles_without_graph_breaks():
    inputs = block_inputs()
    expected = block(*inputs)
    y = torch.compile(block, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(y, expected)
    grads = torch.autograd.grad(y.square().sum(), inputs)
    torch.testing.assert_close(grads, torch.autograd.grad(expected.square().sum(), inputs))


def test_a_second_derivative_is_refused():
    inputs = block_inputs()
    grads = torch.autograd.grad(block(*inputs).sum(), inputs, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiable once"):
        grads[0].sum().backward()


def test_flops_follow_the_official_rule():
    register_flop_formulas()
    register_flop_formulas()
    with FlopCounterMode(display=False) as counter:
        block(*block_inputs())
    assert counter.get_total_flops() == 29 * 2 * 16 * 8


def test_importing_the_operators_imports_no_compiler():
    code = "import sys, linbench.kernels; print('numba' in sys.modules or 'triton' in sys.modules)"
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
    assert not result.stderr
