"""What a worker times: a backbone, a part of a system or a module of the user's, and inputs for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...backbones import backbone_spec, create_backbone
from ...backbones.registry import backbone_options
from ...errors import UsageError

Inputs = tuple[Tensor, ...]
# The reference of Bi-WKV is O(T^2): as a check of whole models it would take minutes.
PLAIN = ("torch", "reference")


def build_model(params: dict[str, Any], *, reference: bool = False) -> nn.Module:
    """The module that a cell with `params` times, in evaluation mode, in fp32 on the CPU.

    Args:
        params: Parameters of the cell and `backbone`, its name.
        reference: Build it of reference kernels and attention written out, as the truth for checks.

    Raises:
        UsageError: Unknown names, or a choice that the model does not have.
    """
    torch.manual_seed(params["seed"])
    target = params.get("subject")
    if target:
        return _of_the_users(target, params["backbone"])
    name, stage = params["backbone"], params["stage"]
    backbone = backbone_of(params)
    overrides = _attention(backbone, "eager" if reference else params["attention"], forgiving=reference)
    if operators := operators_of(params):
        overrides["kernels"] = plain_backend(operators) if reference else params.get("kernels", "auto")
    if "refine" in params:
        overrides["refine"] = params["refine"]
    model = create_backbone(name, **overrides) if stage == "backbone" else _at_stage(stage, name, overrides)
    return model.eval().requires_grad_(False)


def _at_stage(stage: str, name: str, overrides: dict[str, Any]) -> nn.Module:
    from ...heads.sam import create_system
    from .stages import STAGES

    return STAGES[stage](create_system(name, **overrides))


def operators_of(params: dict[str, Any]) -> tuple[str, ...]:
    """LinBench's operators that the model of a cell calls, those of a refine module that it names included."""
    own = backbone_spec(backbone_of(params)).operators
    if "refine" not in params:
        return own
    from ...heads.sam.refine import refine_operators

    return tuple(dict.fromkeys((*own, *refine_operators(params["refine"]))))


def plain_backend(operators: Sequence[str]) -> str:
    """The plain backend that all of some operators have: `torch`, or `reference` where one has none."""
    from ...kernels import operator_backends

    wanted = set(operators)
    for name in PLAIN:
        if wanted <= {status.operator for status in operator_backends() if status.backend == name}:
            return name
    raise UsageError(f"{', '.join(operators)} have no plain backend in common; the output cannot be checked")


def _attention(backbone: str, kind: str | None, *, forgiving: bool) -> dict[str, Any]:
    if kind is None or backbone_spec(backbone).mixer != "softmax":
        return {}
    if "attention" in backbone_options(backbone):
        return {"attention": kind}
    if kind != "sdpa" and not forgiving:
        raise UsageError(f"'{backbone}' has SDPA attention only; leave --attention {kind} out")
    return {}


def backbone_of(params: dict[str, Any]) -> str:
    """The backbone of a cell: itself, or that of its system."""
    name: str = params["backbone"]
    if params["stage"] == "backbone":
        return name
    from ...heads.sam.systems import system_spec

    return system_spec(name).backbone


def _of_the_users(target: str, name: str) -> nn.Module:
    module_name, _, attribute = target.partition(":")
    try:
        builder = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"subject '{target}' cannot be imported by a new process: {error}") from error
    model: nn.Module = builder(name)
    return model.eval().requires_grad_(False)


def timed_parts(model: nn.Module) -> list[nn.Module]:
    """The modules whose weights a call of `model` reads."""
    parts: list[nn.Module] = getattr(model, "timed_parts", [model])
    return parts


def make_inputs(model: nn.Module, images: Tensor, *, prompts: int | None, generator: torch.Generator) -> Inputs:
    """The arguments of one call of `model`: the images, and with `prompts` that many boxes for each."""
    if prompts is None:
        return (images,)
    from .stages import prompted_inputs

    return prompted_inputs(model, images, prompts=prompts, generator=generator)


def tensors_of(output: Any) -> Iterator[Tensor]:
    """The tensors of what a model returned, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for item in output:
            yield from tensors_of(item)
