"""The probes of the exponential rate compute exponentials, as many as they say."""

import pytest
import torch
from linbench.suites.kernels.cpu_exps import exps_on_cpu


def test_the_cpu_probe_runs_on_the_threads_of_torch():
    before = torch.get_num_threads()
    try:
        counts = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            call, count = exps_on_cpu()
            call()
            counts.append(count)
    finally:
        torch.set_num_threads(before)
    assert counts[1] == 2 * counts[0]


@pytest.mark.triton
def test_the_triton_probe_iterates_powers_of_two(triton_device):
    from linbench.suites.kernels.triton_exps import exps_kernel

    out = torch.full((64,), torch.nan, device=triton_device)
    exps_kernel[(2,)](out, 3, block=32)
    expected = torch.arange(64, device=triton_device) * 1e-9
    for _ in range(3):
        expected = torch.exp2(-expected)
    torch.testing.assert_close(out, expected)


def test_all_in_the_interpreter(run_interpreted):
    run_interpreted()


@pytest.mark.parametrize("capability", [80, 90])
def test_the_triton_probe_compiles_to_the_fast_instruction(compile_to_cubin, capability):
    from linbench.suites.kernels.triton_exps import exps_kernel

    compiled = compile_to_cubin(exps_kernel, {"out": "*fp32", "repeats": "i32"}, {"block": 1024}, capability)
    assert not compiled.spilled
    assert "ex2.approx" in compiled.ptx
