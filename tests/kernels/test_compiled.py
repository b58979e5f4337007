import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
import torch
from linbench.kernels import bi_wkv, q_shift_mix
from linbench.kernels.compiled import exp32, kernel, log32
from linbench.kernels.cpu_math import decay, power
from linbench.kernels.threads import parallel_for


@kernel
def exp_and_log(x, exponentials, logarithms):
    for i in range(x.size):
        exponentials[i] = exp32(x[i])
        logarithms[i] = log32(-x[i])


def test_exp_and_log_hold_to_float32_rounding():
    x = -np.concatenate([np.linspace(1e-6, 2, 5001), np.linspace(2, 87, 20001)]).astype(np.float32)
    exponentials, logarithms = np.empty_like(x), np.empty_like(x)
    exp_and_log(x, exponentials, logarithms)
    assert np.abs(exponentials / np.exp(x.astype(np.float64)) - 1).max() < 1.5e-7
    right = np.log(-x.astype(np.float64))
    assert (np.abs(logarithms - right) / np.maximum(np.abs(right), 1)).max() < 1.5e-7


def test_exp_at_the_ends():
    x = np.array([0, -np.inf, -1e30, np.nan], np.float32)
    exponentials = np.empty_like(x)
    exp_and_log(x, exponentials, np.empty_like(x))
    assert exponentials[0] == 1
    assert (exponentials[1:3] < 1e-37).all()
    assert np.isnan(exponentials[3])


@kernel
def powers_and_decays(x, powers, decays):
    for i in range(x.size):
        powers[i] = power(x[i])
        decays[i] = decay(x[i])


def test_powers_hold_to_float32_rounding_over_the_whole_range():
    x = np.concatenate([np.linspace(-126, 127, 40001), np.linspace(-1, 1, 40001)]).astype(np.float32)
    powers, decays = np.empty_like(x), np.empty_like(x)
    powers_and_decays(x, powers, decays)
    assert np.abs(powers / np.exp2(x.astype(np.float64)) - 1).max() < 2.5e-7
    small = np.abs(x) <= 1
    assert np.abs(decays[small] / np.exp(x[small].astype(np.float64)) - 1).max() < 3e-7
    # The rounding of a large product with log2(e) shows, but not beside 1, where a decay stands in a sum.
    assert np.abs(decays[x < 0] - np.exp(x[x < 0].astype(np.float64))).max() < 2e-7


def test_powers_near_1_may_be_multiplied_many_times():
    x = -np.logspace(-6, -2, 200).astype(np.float32)
    powers, decays = np.empty_like(x), np.empty_like(x)
    powers_and_decays(x, powers, decays)
    # A geometric sum has the factor 1 / (1 - decay); float32 itself cannot tell 1 - decay to better than 6e-8.
    assert np.abs(powers - np.exp2(x.astype(np.float64))).max() < 9e-8
    assert np.abs(decays - np.exp(x.astype(np.float64))).max() < 9e-8


def test_powers_at_the_ends():
    x = np.array([0, 128, 1e30, np.inf, -127, -np.inf, np.nan], np.float32)
    powers, decays = np.empty_like(x), np.empty_like(x)
    powers_and_decays(x, powers, decays)
    for values in (powers, decays):
        assert values[0] == 1
        assert np.isposinf(values[1:4]).all()
        assert ((values[4:6] > 0) & (values[4:6] < 1.2e-38)).all()
        assert np.isnan(values[6])


def test_inner_loops_are_vectorised():
    fresh = numba.njit(fastmath={"contract"}, error_model="numpy")(exp_and_log.py_func)
    fresh(*np.full((3, 4), -1, np.float32))
    (code,) = fresh.inspect_llvm().values()
    assert re.search(r"fmul contract <\d+ x float>", code)


@kernel
def count(first, last, visits):
    for i in range(first, last):
        visits[i] += 1


@pytest.mark.parametrize("items", [0, 1, 7, 1000])
def test_each_item_is_visited_once(items):
    visits = np.zeros(max(items, 1), np.int64)
    parallel_for(count, items, visits)
    assert visits[:items].tolist() == [1] * items


def call(seed):
    generator = torch.Generator().manual_seed(seed)
    k, v = torch.randn(2, 1, 400, 32, generator=generator)
    mixed = q_shift_mix(v, torch.full((2, 32), 0.5), (20, 20))
    return bi_wkv(torch.linspace(-1, 1, 32) / 400, torch.zeros(32), k, mixed[1])


def test_calls_from_several_threads_do_not_disturb_each_other():
    expected = [call(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert all(map(torch.equal, pool.map(call, range(8)), expected))


def sum_in_child(queue):
    queue.put(call(0).double().sum().item())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_works_in_a_forked_worker():
    expected = call(0).double().sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=sum_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=30) == expected
    finally:
        child.kill()
        child.join()


def test_machine_code_is_cached_where_the_package_cannot_be_written(tmp_path):
    code = """
import os, sys
real = os.access
def access(path, mode, **kwargs):
    return not (mode & os.W_OK and "kernels" in str(path)) and real(path, mode, **kwargs)
os.access = access
import torch
from linbench.kernels import q_shift
from linbench.kernels.q_shift import cpu
q_shift(torch.ones(1, 4, 4), (2, 2), backend="cpu")
print(sum(cpu._shift.stats.cache_hits.values()))
"""
    environment = {**os.environ, "LINBENCH_CACHE": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    hits = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, env=environment, check=True
        )
        hits.append(result.stdout.strip())
    assert hits == ["0", "1"]
    assert list(tmp_path.rglob("*.nbc"))
