"""Operators: each has one public function, a reference that is the truth, and faster backends tested against it."""

from __future__ import annotations

from .atrous_scan import atrous_merge, atrous_scan
from .bi_wkv import bi_wkv
from .causal_conv1d import causal_conv1d
from .cross_scan import cross_merge, cross_scan
from .dilated_attention import dilated_attention
from .flops import register_flop_formulas
from .q_shift import q_shift, q_shift_mix
from .registry import BackendStatus, operator_backends, resolve_backend
from .selective_scan import selective_scan
from .selective_scan_2d import selective_scan_2d
from .taylor_attention import taylor_linear_attention
from .window_attention import sliding_window_attention, window_attention

__all__ = [
    "BackendStatus",
    "atrous_merge",
    "atrous_scan",
    "bi_wkv",
    "causal_conv1d",
    "cross_merge",
    "cross_scan",
    "dilated_attention",
    "operator_backends",
    "q_shift",
    "q_shift_mix",
    "register_flop_formulas",
    "resolve_backend",
    "selective_scan",
    "selective_scan_2d",
    "sliding_window_attention",
    "taylor_linear_attention",
    "window_attention",
]
