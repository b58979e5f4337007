"""Operators: each has one public function, a reference that is the truth, and faster backends tested against it."""

from __future__ import annotations

from .bi_wkv import bi_wkv
from .flops import register_flop_formulas
from .q_shift import q_shift, q_shift_mix
from .registry import BackendStatus, operator_backends, resolve_backend

__all__ = [
    "BackendStatus",
    "bi_wkv",
    "operator_backends",
    "q_shift",
    "q_shift_mix",
    "register_flop_formulas",
    "resolve_backend",
]
