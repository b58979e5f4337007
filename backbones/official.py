"""The one door for weights under official key names, whatever wrapper they were saved with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .base import Backbone
from .position import resize_position_embedding, square_grid

WRAPPERS = ("_orig_mod.", "module.", "model.")
BACKBONE_PREFIXES = ("backbone.", "backbone_student.", "image_encoder.")
CLASSIFIER_HEADS = {"head.fc.": "head.", "fc.": "head.", "classifier.": "head."}


def load_official(module: nn.Module, state_dict: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load tensors that are named in any known official layout.

    Wrapper prefixes (`module.`, `model.`, ...) are taken off. A backbone takes the part under `backbone.`,
    `backbone_student.` or `image_encoder.` where there is one, and leaves the classifier head and other parts of the
    file out. A position embedding of another grid is resized. A module with a method `convert_official(state_dict)`
    (the SAM systems and heads) names the rest itself.

    Args:
        module: A backbone, classifier, system or head of LinBench.
        state_dict: Tensors by official name.
        strict: Every parameter must be found and every tensor used.

    Raises:
        WeightsError: Keys are missing, unexpected or of other shapes; the first ten of each are named.
    """
    state = strip_prefixes(state_dict, WRAPPERS)
    convert = None if isinstance(module, Backbone) else getattr(module, "convert_official", None)
    state = convert(state) if convert is not None else backbone_state(module, state)
    own = module.state_dict()
    state = {key: _fit_position(value, own.get(key), key) for key, value in state.items()}
    misshaped = [
        f"{key} {tuple(value.shape)} != {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    if misshaped or (strict and (missing or unexpected)):
        faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        text = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in faults if keys)
        raise WeightsError(
            f"these weights are not of this {type(module).__name__} ({text}); check the model's name and size"
        )
    if not any(key in own for key in state):
        raise WeightsError(f"none of the {len(state)} tensors belongs to this {type(module).__name__}")
    module.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def strip_prefixes(state_dict: Mapping[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Take a prefix off as long as every key carries it."""
    state = dict(state_dict)
    again = True
    while again and state:
        again = False
        for prefix in prefixes:
            if all(key.startswith(prefix) for key in state):
                state = {key[len(prefix) :]: value for key, value in state.items()}
                again = True
    return state


def backbone_state(backbone: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are a backbone's, by the backbone's own names as far as they are known.

    Args:
        backbone: A backbone; where it has a method `convert_official(state)`, that one names the tensors.
        state: Tensors by official name, wrapper prefixes taken off.
    """
    part = dict(state)
    for prefix in BACKBONE_PREFIXES:
        found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if found:
            part = found
            break
    convert = getattr(backbone, "convert_official", None)
    if convert is not None:
        converted: dict[str, Tensor] = convert(part)
        return converted
    own = backbone.state_dict()
    heads = ("head.", *CLASSIFIER_HEADS)
    return {key: value for key, value in part.items() if key in own or not key.startswith(heads)}


def _fit_position(value: Tensor, own: Tensor | None, key: str) -> Tensor:
    """Resize a learned position embedding `[1, (class token +) grid, C]` to the grid of `own`."""
    if own is None or not key.endswith("pos_embed") or value.ndim != 3 or value.shape == own.shape:
        return value
    if value.shape[-1] != own.shape[-1]:
        return value
    extra = _leading_tokens(own.shape[1])
    if extra is None or _leading_tokens(value.shape[1]) != extra:
        return value
    grid = square_grid(own.shape[1] - extra)
    return torch.cat([value[:, :extra], resize_position_embedding(value[:, extra:], grid)], dim=1)


def _leading_tokens(tokens: int) -> int | None:
    """Class tokens in front of a square grid: 0 or 1; None where neither leaves a square."""
    return next((extra for extra in (0, 1) if math.isqrt(tokens - extra) ** 2 == tokens - extra), None)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:10]) + (", ..." if len(keys) > 10 else "")
