"""How the CPU kernels are compiled: numba settings, the on-disk cache, and vectorisable exp and log in float32.

Imported by the `cpu.py` files only, so that `import linbench.kernels` does not pay for numba.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.compiler import Compiler
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent


@contextmanager
def _cache_folder() -> Iterator[None]:
    """Points numba at `LINBENCH_CACHE` while a function is decorated, where the package folder is read-only."""
    config: Any = numba.config
    previous = config.CACHE_DIR
    fallback = os.environ.get("LINBENCH_CACHE")
    if fallback and not previous and not os.access(_PACKAGE, os.W_OK):
        config.CACHE_DIR = str(Path(fallback).expanduser() / "numba")
    try:
        yield
    finally:
        config.CACHE_DIR = previous


class _DistinctArrays(Compiler):
    """Tells LLVM that array arguments do not overlap; without this it will not vectorise loops over many of them."""

    def __init__(
        self, typingctx: Any, targetctx: Any, library: Any, args: Any, return_type: Any, flags: Any, locals: Any
    ) -> None:
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)  # type: ignore[no-untyped-call]


def kernel(function: F) -> F:
    """Compiles a loop nest: no GIL, array arguments that do not overlap, machine code cached across processes.

    Only `contract` of the fast-math flags is set: multiply-adds are fused, infinities and NaNs keep their meaning.
    numba keys its cache by the decorated function's own file; edits of this file need `__pycache__/*.nb?` removed.
    """
    with _cache_folder():
        decorate = numba.njit(
            cache=True,
            nogil=True,
            error_model="numpy",
            fastmath={"contract"},
            boundscheck=False,
            pipeline_class=_DistinctArrays,
        )
        return cast(F, decorate(function))


def inlined(function: F) -> F:
    """Compiles a scalar helper that LLVM inlines into the kernels, where it is vectorised."""
    return cast(F, numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})(function))


def _power_of_two_code(typing_context: Any, magic: Any) -> Any:
    """The power 2**n from a float32 whose lowest mantissa bits hold n + 127 (that is, n + `_MAGIC`)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.bitcast(args[0], word), word(23)), ir.FloatType())

    return types.float32(types.float32), generate


def _exponent_code(typing_context: Any, value: Any) -> Any:
    """Integer e, as float32, with value = m * 2**e and m in [0.707, 1.414)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.sub(builder.bitcast(args[0], word), word(0x3F3504F3))
        return builder.sitofp(builder.ashr(bits, word(23)), ir.FloatType())

    return types.float32(types.float32), generate


def _mantissa_code(typing_context: Any, value: Any) -> Any:
    """The m in [0.707, 1.414) with value = m * 2**e."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.bitcast(args[0], word)
        exponent = builder.and_(builder.sub(bits, word(0x3F3504F3)), word(0xFF800000))
        return builder.bitcast(builder.sub(bits, exponent), ir.FloatType())

    return types.float32(types.float32), generate


_power_of_two: Any = intrinsic(_power_of_two_code)
_exponent: Any = intrinsic(_exponent_code)
_mantissa: Any = intrinsic(_mantissa_code)

_LOG2_E = np.float32(1.44269504)
# 1.5 * 2**23, which rounds what is added to it to an integer, and the bias of an exponent.
_MAGIC = np.float32(12582912.0 + 127)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-87.0)
_E2, _E3, _E4 = np.float32(5.0000001201e-1), np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
_E5, _E6, _E7 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)
_ONE = np.float32(1.0)


@inlined
def exp32(x: Any) -> Any:
    """e**x in float32 for x <= 0, to 1.2e-7 relative; below -87 it stays at e**-87, a zero for sums that hold a 1.

    Range reduction after Cody and Waite, polynomial after Cephes; NaN propagates.
    """
    x = _LOWEST if x < _LOWEST else x
    magic = x * _LOG2_E + _MAGIC
    n = magic - _MAGIC
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    tail = ((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2
    return (tail * (r * r) + r + _ONE) * _power_of_two(magic)


_LOWEST_POWER = np.float32(-126.0)
_P1, _P2, _P3 = np.float32(0.6931471805599453), np.float32(2.4022282660007477e-1), np.float32(5.550558492541313e-2)
_P4, _P5 = np.float32(9.669691324234009e-3), np.float32(1.3300605351105332e-3)


@inlined
def power32(x: Any) -> Any:
    """2**x in float32 for x <= 128, to 2e-7 relative; 2**-126 below -126, infinite from 127.5 on.

    The polynomial is exact at 0 and has the right slope there, so that powers near 1 may be multiplied many times.
    """
    x = _LOWEST_POWER if x < _LOWEST_POWER else x
    magic = x + _MAGIC
    r = x - (magic - _MAGIC)
    return (((((_P5 * r + _P4) * r + _P3) * r + _P2) * r + _P1) * r + _ONE) * _power_of_two(magic)


_L0, _L1, _L2 = np.float32(7.0376836292e-2), np.float32(-1.1514610310e-1), np.float32(1.1676998740e-1)
_L3, _L4, _L5 = np.float32(-1.2420140846e-1), np.float32(1.4249322787e-1), np.float32(-1.6668057665e-1)
_L6, _L7, _L8 = np.float32(2.0000714765e-1), np.float32(-2.4999993993e-1), np.float32(3.3333331174e-1)
_HALF = np.float32(0.5)


@inlined
def log32(x: Any) -> Any:
    """Natural logarithm in float32 for normal x > 0 (Cephes' polynomial around 1)."""
    e = _exponent(x)
    r = _mantissa(x) - _ONE
    square = r * r
    tail = (((((((_L0 * r + _L1) * r + _L2) * r + _L3) * r + _L4) * r + _L5) * r + _L6) * r + _L7) * r + _L8
    return (r + (tail * r * square + e * _LN2_LOW - _HALF * square)) + e * _LN2_HIGH
