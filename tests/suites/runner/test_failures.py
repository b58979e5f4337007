"""Errors as they are raised by PyTorch, numpy and LinBench, and what a row makes of them."""

import pytest
import torch
from linbench.errors import BackendError, UsageError
from linbench.suites.runner.environment import default_threads, worker_environment
from linbench.suites.runner.failures import describe


def test_cuda_out_of_memory_names_both_amounts():
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.50 GiB. "
        "GPU 0 has a total capacity of 79.15 GiB of which 512.00 MiB is free."
    )
    failure = describe(error)
    assert failure.status == "oom"
    assert failure.asked_bytes == int(2.5 * 2**30)
    assert failure.free_bytes == 512 * 2**20


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes."), 8589934592),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes. Error code 12"), 64),
        (MemoryError("Unable to allocate 1.00 GiB for an array with shape (1,)"), 2**30),
        (MemoryError(), None),
        (RuntimeError("std::bad_alloc"), None),
    ],
)
def test_host_out_of_memory(error, asked):
    failure = describe(error)
    assert failure.status == "oom"
    assert failure.asked_bytes == asked


def test_the_real_allocator_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert describe(caught.value).status == "oom"
    assert describe(caught.value).asked_bytes == 2**60


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("sides must be multiples of 32"), "unsupported"),
        (BackendError("no"), "unsupported"),
        (NotImplementedError("addmm for Half"), "unsupported"),
        (RuntimeError("shape mismatch"), "failed"),
        (ValueError(), "failed"),
    ],
)
def test_other_errors(error, status):
    failure = describe(error)
    assert failure.status == status
    assert failure.error
    assert "\n" not in failure.error


def test_a_user_s_malloc_settings_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environment = worker_environment(3)
    assert environment["MALLOC_TOP_PAD_"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["MALLOC_MMAP_MAX_"] == "0"
    assert default_threads() == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert default_threads() >= 1
