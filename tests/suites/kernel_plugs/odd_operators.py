"""An operator with implementations that go wrong, each in the way its name says; registered where this is imported."""

import os
import signal
import time

import torch
from linbench.errors import BackendError
from linbench.kernels.cases import OperatorCase, Work
from linbench.kernels.registry import Backend, register_operator

NAMES = ("reference", "torch", "slow", "wrong", "wrong-gradient", "nan", "killed", "refusing", "no-gradient", "large")


def _missing(device):
    return "the library it wants is not installed"


register_operator(
    "doubling",
    (
        *map(Backend, NAMES),
        Backend("absent", devices=("cpu", "cuda"), unavailable=_missing),
        Backend("gpu", devices=("cuda",)),
    ),
)


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 3 * g


def doubling(x, backend):
    if backend == "slow":
        time.sleep(0.01)
    if backend == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if backend == "refusing":
        raise BackendError("it serves sizes up to 3")
    if backend == "wrong-gradient":
        return WrongGradient.apply(x)
    if backend == "no-gradient":
        return (2 * x).detach()
    factor = {"wrong": 2.01, "nan": float("nan")}.get(backend, 2)
    y = factor * x
    if backend == "large" and x.shape[1] > 64:
        # Right at the size for checks, wrong at the one that is timed.
        y = y.clone()
        y[-1, -1] += 1
    return y


def work(shape, element):
    count = shape["B"] * shape["C"]
    return Work(count, 2 * count * element)


CASES = (
    OperatorCase(
        "doubling",
        "small",
        {"B": 4, "C": 64},
        lambda shape, generator: {"x": torch.randn(shape["B"], shape["C"], generator=generator)},
        lambda inputs, backend: doubling(inputs["x"], backend),
        work,
        work,
    ),
    OperatorCase(
        "doubling",
        "wide",
        {"B": 4, "C": 4096},
        lambda shape, generator: {"x": torch.randn(shape["B"], shape["C"], generator=generator)},
        lambda inputs, backend: doubling(inputs["x"], backend),
        work,
        work,
        check={"C": 64},
    ),
)
