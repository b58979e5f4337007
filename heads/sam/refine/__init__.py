"""Refine modules: the backbone's maps of strides 4 and 8 sharpen SAM's mask feature (RWKV-SAM, equation 7)."""

from .base import StrideFourRefine
from .conv import ConvRefine
from .products import weighted_convolution
from .registry import REFINE_MODULES, RefineEntry, build_refine, refine_operators

__all__ = [
    "REFINE_MODULES",
    "ConvRefine",
    "RefineEntry",
    "StrideFourRefine",
    "build_refine",
    "refine_operators",
    "weighted_convolution",
]
