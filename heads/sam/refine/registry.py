"""The refine modules by name, as data: what fuses the backbone's fine maps into the mask feature (Table 6, left)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ....errors import UsageError


@dataclass(frozen=True)
class RefineEntry:
    """A refine module described as data.

    Attributes:
        target: `module:class` in this package. The class takes `fine_channels` and `middle_channels`, and `kernels`
            where it names operators.
        summary: What fuses, and whose choice that is, in one line.
        operators: LinBench's operators that it calls.
        params: Parameters over maps of 64 and 128 channels, RWKV-SAM-S's; or None where nobody has counted them.
        macs: Multiply-adds on a frame of 1024 pixels over the same maps: per image, and per prompt on top.
        operator_flops: FLOPs of the operators per prompt, likewise.
    """

    target: str
    summary: str
    operators: tuple[str, ...] = ()
    params: int | None = None
    macs: tuple[int, int] | None = None
    operator_flops: int = 0


REFINE_MODULES: Mapping[str, RefineEntry] = {
    "conv": RefineEntry(
        "conv:ConvRefine",
        "two 3x3 convolutions over the concatenated maps, the published module",
        params=180896,
        macs=(7784628224, 1247823872),
    ),
    "mamba": RefineEntry(
        "mamba:MambaRefine",
        "one block of VMamba over the concatenated maps; sizes and place are LinBench's reading",
        operators=("selective_scan_2d",),
        params=160928,
        macs=(5637144576, 3030386688),
        operator_flops=184549376,
    ),
    "rwkv": RefineEntry(
        "rwkv:RwkvRefine",
        "one RWKV block over the concatenated maps; sizes and place are LinBench's reading",
        operators=("bi_wkv", "q_shift_mix"),
        params=153056,
        macs=(5637144576, 2556430336),
        operator_flops=121634816,
    ),
    "dcn": RefineEntry(
        "dcn:DcnRefine",
        "coarse to fine, aligned by deformable convolutions after FaPN; sizes and steps are LinBench's reading",
        params=136172,
        macs=(4143972352, 2114977792),
    ),
}


def refine_operators(name: str) -> tuple[str, ...]:
    """LinBench's operators that a refine module calls; none for `auto` (conv or nothing) and `none`.

    Raises:
        UsageError: No such refine module.
    """
    return () if name in {"auto", "none"} else _entry(name).operators


def build_refine(name: str, *, fine_channels: int, middle_channels: int, kernels: str = "auto") -> nn.Module:
    """Build a refine module.

    Args:
        name: A name of `REFINE_MODULES`.
        fine_channels: Channels of the stride-4 map.
        middle_channels: Channels of the stride-8 map.
        kernels: Backend of the operators that it calls, if any.

    Raises:
        UsageError: No such refine module.
    """
    entry = _entry(name)
    module, _, attribute = entry.target.partition(":")
    builder = getattr(importlib.import_module(f".{module}", __package__), attribute)
    options = {"kernels": kernels} if entry.operators else {}
    refine: nn.Module = builder(fine_channels=fine_channels, middle_channels=middle_channels, **options)
    return refine


def _entry(name: str) -> RefineEntry:
    if name not in REFINE_MODULES:
        raise UsageError(f"unknown refine module '{name}'; expected auto, none, {', '.join(REFINE_MODULES)}")
    return REFINE_MODULES[name]
