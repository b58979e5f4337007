"""The cells that the options of a latency sweep ask for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from ...backbones import backbone_spec
from ...results.schema import Cell
from ..runner.environment import default_threads
from .options import AUTO, WITH_PROMPTS, LatencyOptions

SUITE_NAME = "latency"
PROTOCOL = "blp-1-core"
TWINS = ("a", "b")


class _What(NamedTuple):
    """A model at a stage, before its settings."""

    name: str
    stage: str
    attention: str | None
    prompts: int | None
    refine: str = AUTO


def planned_cells(options: LatencyOptions) -> list[Cell]:
    """One cell for each resolution, model, stage and setting, in the order of their measurement."""
    sizes = sorted(set(options.resolutions))
    subjects = [
        _params(options, what, batch, dtype, compile_)
        for dtype, batch, what, compile_ in product(
            dict.fromkeys(options.dtypes), dict.fromkeys(options.batches), _models(options), options.compile
        )
    ]
    if options.aa:
        subjects = [(name, params | {"twin": twin}) for name, params in subjects for twin in TWINS]
    if options.interleave:
        order = [(size, *subject) for size in sizes for subject in subjects]
    else:
        order = [(size, *subject) for subject in subjects for size in sizes]
    return [Cell(SUITE_NAME, name, params | {"res": size}) for size, name, params in order]


def _models(options: LatencyOptions) -> Iterator[_What]:
    for name in dict.fromkeys(options.backbones):
        for kind in _attention_kinds(options, name):
            yield _What(name, "backbone", kind, None)
    for name, stage in product(dict.fromkeys(options.systems), dict.fromkeys(options.stages_of_systems())):
        for kind in _attention_kinds(options, _backbone_of(name)) if stage != "decoder" else (None,):
            for count in dict.fromkeys(options.prompts) if stage in WITH_PROMPTS else (None,):
                for refine in dict.fromkeys(options.refine) if stage in WITH_PROMPTS else (AUTO,):
                    yield _What(name, stage, kind, count, refine)


def _attention_kinds(options: LatencyOptions, backbone: str) -> tuple[str | None, ...]:
    if options.subject is not None or backbone_spec(backbone).mixer != "softmax":
        return (None,)
    return tuple(dict.fromkeys(options.attention))


def _backbone_of(system: str) -> str:
    from ...heads.sam.systems import system_spec

    return system_spec(system).backbone


def _operators(what: _What) -> tuple[str, ...]:
    """LinBench's operators that a model calls."""
    if what.stage == "backbone":
        return backbone_spec(what.name).operators
    from ...heads.sam.refine import refine_operators

    return (*backbone_spec(_backbone_of(what.name)).operators, *refine_operators(what.refine))


def _params(
    options: LatencyOptions, what: _What, batch: int | str, dtype: str, compile_: str
) -> tuple[str, dict[str, Any]]:
    # What came after the first rows is named only where it differs from what they were measured with: keys stay.
    params: dict[str, Any] = {
        "stage": what.stage,
        "batch": batch,
        "dtype": dtype,
        "device": "cuda:0" if options.device == "cuda" else options.device,
        "threads": options.threads or default_threads(),
        "attention": what.attention,
        "channels_last": options.channels_last,
        "compile": compile_,
        "weights": "random",
        "seed": options.seed,
        "protocol": PROTOCOL,
    }
    if what.prompts is not None:
        params["prompts"] = what.prompts
    if what.refine != AUTO:
        params["refine"] = what.refine
    if batch == AUTO:
        params["measure"] = "throughput"
    if options.tf32 and dtype == "fp32":
        params["tf32"] = True
    if options.kernels != "auto" and options.subject is None and _operators(what):
        params["kernels"] = options.kernels
    if options.memory_limit_mib is not None:
        params["memory_limit_mib"] = options.memory_limit_mib
    if options.subject is not None:
        params["subject"] = options.subject
    return what.name, params
