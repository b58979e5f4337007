"""Which parameters decay, and which learn faster than others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters as groups of an optimiser, in the module's order.

    Matrices and kernels decay. Vectors (norms, biases, scales) do not, nor what a sub-module names in
    `no_weight_decay() -> set[str]`, by its own parameters' names or patterns of them, as timm's models do. A sub-module
    with `lr_scales() -> dict[str, float]` lets those of its parameters whose name begins so learn faster by a factor;
    the longest beginning counts.

    Args:
        module: What is trained.
        weight_decay: Of the parameters that decay.

    Returns:
        Two groups, decayed and not, for each factor `lr_scale`, the factor 1 first; the first two are always there.
    """
    spared = spared_parameters(module)
    scales = _lr_scales(module)
    groups: dict[float, list[list[nn.Parameter]]] = {1.0: [[], []]}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            fitting = [prefix for prefix in scales if name.startswith(prefix)]
            scale = scales[max(fitting, key=len)] if fitting else 1.0
            decays = parameter.ndim > 1 and name not in spared
            groups.setdefault(scale, [[], []])[0 if decays else 1].append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for scale, pair in groups.items()
        for parameters, decay in zip(pair, (weight_decay, 0.0), strict=True)
    ]


def spared_parameters(module: nn.Module) -> set[str]:
    """Names of the parameters that some sub-module's `no_weight_decay()` names."""
    return {
        prefix + name
        for prefix, part, patterns in _answers(module, "no_weight_decay")
        for name, _ in part.named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def _lr_scales(module: nn.Module) -> Mapping[str, float]:
    return {
        prefix + name: float(factor)
        for prefix, _, factors in _answers(module, "lr_scales")
        for name, factor in factors.items()
    }


def _answers(module: nn.Module, question: str) -> Iterator[tuple[str, nn.Module, Any]]:
    """Of each sub-module that has a method of that name: its prefix, itself and what it answers."""
    for path, part in module.named_modules():
        method = getattr(part, question, None)
        if callable(method):
            yield f"{path}." if path else "", part, method()
