"""Scalar functions of the CPU kernels, float32, inlined into vector loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import exp32, inlined
from .series import ATANH

_A0, _A1, _A2, _A3 = (np.float32(coefficient) for coefficient in ATANH)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
# The power of two that `exp32` builds is infinite from here on.
_HIGHEST = np.float32(88.8)


@inlined
def decay(x: Any) -> Any:
    """e**x for any x: infinite above 88.7, e**-87 below -87."""
    return exp32(_HIGHEST if x > _HIGHEST else x)


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
