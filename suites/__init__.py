"""Suites: what is measured. A suite's module is imported when the suite is first asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UsageError


class SuiteEntry(NamedTuple):
    """Where a suite lives (`module:attribute` in this package) and what it measures, in one line."""

    target: str
    summary: str


SUITES: Mapping[str, SuiteEntry] = {
    "ablation-distill": SuiteEntry("ablations.distill:SUITE", "masks with and without distillation (Table 7)"),
    "ablation-encoder": SuiteEntry("ablations.encoder:SUITE", "RWKV blocks in earlier stages: FPS, accuracy (Table 6)"),
    "ablation-fusion": SuiteEntry("ablations.fusion:SUITE", "refine modules of the decoder: FPS, mIoU (Table 6)"),
    "ade20k": SuiteEntry("ade20k:SUITE", "semantic segmentation with UperNet: mIoU on ADE20K (Table 5)"),
    "classification": SuiteEntry("classification:SUITE", "top-1 and top-5 accuracy on ImageNet's layout (Table 4)"),
    "data-stats": SuiteEntry("stats:DATA_STATS", "images and masks of training sets, annotated and read (Table 2)"),
    "model-stats": SuiteEntry("stats:MODEL_STATS", "stages, parameters, multiply-adds of backbones (Table 1)"),
    "distill": SuiteEntry("distill:SUITE", "an encoder's mean squared error to a teacher's image embeddings"),
    "kernels": SuiteEntry("kernels.suite:SUITE", "implementations of operators: errors, times, share of the roofline"),
    "latency": SuiteEntry("latency:SUITE", "latency, throughput and memory of backbones and systems over resolution"),
    "sam-hq": SuiteEntry("sam_hq:SUITE", "high-quality masks from box prompts, under one SAM decoder and recipe"),
}


def list_suites() -> list[str]:
    """Names of all suites."""
    return list(SUITES)


def suite(name: str) -> Any:
    """The suite called `name`; see `suites.base.Suite` for what it offers.

    Raises:
        UsageError: No such suite; the message suggests near ones.
    """
    if name not in SUITES:
        close = difflib.get_close_matches(name, [*SUITES], n=2, cutoff=0.4)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"unknown suite '{name}'.{hint} Suites: {', '.join(SUITES)}.")
    module, _, attribute = SUITES[name].target.partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), attribute)
