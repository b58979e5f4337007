"""Coefficients that the CPU and the Triton kernels share."""

from __future__ import annotations

# log(1 + e) = 2 atanh(s) with s = e / (2 + e); atanh(s) = s + s^3 (A0 + A1 s^2 + A2 s^4 + A3 s^6), to float32 rounding
# for 0 <= e <= 1. Unlike the logarithm of the sum it keeps its relative accuracy for small e.
ATANH = (0.3333320617675781, 0.20010896027088165, 0.13999086618423462, 0.1401381939649582)
