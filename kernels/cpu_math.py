"""Scalar functions of the CPU kernels, float32, inlined into vector loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import exp32, inlined, power32
from .series import ATANH

_A0, _A1, _A2, _A3 = (np.float32(coefficient) for coefficient in ATANH)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
LOG2_E = np.float32(1.44269504)
# The power of two that `power32` builds is infinite from here on.
_HIGHEST = np.float32(128.0)


@inlined
def power(x: Any) -> Any:
    """2**x for any x: infinite above 127.5, 2**-126 below -126."""
    return power32(_HIGHEST if x > _HIGHEST else x)


@inlined
def decay(x: Any) -> Any:
    """e**x for any x: infinite above 88.3, 2**-126 below -87.3."""
    return power(x * LOG2_E)


@inlined
def softplus(x: Any) -> Any:
    """log(1 + e**x)."""
    e = exp32(-abs(x))
    s = e / (_TWO + e)
    q = s * s
    larger = x if x > _ZERO else _ZERO * x
    return larger + _TWO * (s + s * (q * (((_A3 * q + _A2) * q + _A1) * q + _A0)))


@inlined
def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x)."""
    e = exp32(-abs(x))
    inverse = _ONE / (_ONE + e)
    return inverse if x > _ZERO else e * inverse
