"""The one door for weights under official key names, whatever wrapper they were saved with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .base import Backbone
from .position import resize_position_embedding, square_grid

WRAPPERS = ("_orig_mod.", "module.", "model.")
BACKBONE_PREFIXES = ("backbone.", "backbone_student.", "image_encoder.", "encoder.")
CLASSIFIER_HEADS = {
    "head.fc.": "head.",
    "head.layers.head.": "head.",
    "classifier.head.": "head.",
    "fc.": "head.",
    "classifier.": "head.",
}
# Counters of batch norm, of averaged models and of profilers, and what a module computes from its sizes by itself.
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
DERIVED = (*COUNTERS, "relative_position_index", "relative_coords_table", "attn_mask", "attention_bias_idxs")
NAMED = 4  # keys of each kind in an error
# What training scripts put a state dict under, beside epochs, optimizers and options.
NESTINGS = ("state_dict", "model", "module", "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")


def load_official(module: nn.Module, state_dict: Mapping[str, Any], *, strict: bool = True) -> None:
    """Load tensors that are named in any known official layout.

    A state dict under `state_dict`, `model` or the like is taken out, wrapper prefixes (`module.`, `model.`, ...) are
    taken off. A backbone takes the part under `backbone.`, `backbone_student.`, `image_encoder.` or `encoder.` where
    there is one, and leaves the classifier head and other parts of the file out. A position embedding of another grid
    is resized. A module with a method `convert_official(state_dict)` (the SAM systems and heads) names the rest itself.
    Everything is checked before the first tensor is copied.

    Args:
        module: A backbone, classifier, system or head of LinBench.
        state_dict: Tensors by official name, or a whole checkpoint around them.
        strict: Every parameter must be found and every tensor used.

    Raises:
        WeightsError: Keys are missing, unexpected or of other shapes (a few of each are named, and the backbone that
            the weights do fit, if there is one), or values are not finite.
    """
    module.load_state_dict(official_state(module, state_dict, strict=strict), strict=False)


def official_state(
    module: nn.Module, state_dict: Mapping[str, Any], *, strict: bool = True, hint: bool = True
) -> dict[str, Tensor]:
    """The tensors that `load_official` copies, by the module's own names, after every check; nothing is copied.

    Args:
        module: As for `load_official`; it may be on the meta device.
        state_dict: Likewise.
        strict: Likewise.
        hint: Whether the error of weights that do not fit looks for a backbone that they do fit.

    Raises:
        WeightsError: As for `load_official`.
    """
    own = module.state_dict()
    tensors = named_tensors(state_dict)
    if not tensors:
        raise WeightsError(f"no tensors by name; expected a state dict, bare or under {', '.join(NESTINGS)}")
    state = _converted(module, tensors)
    state = {
        key: _fit_position(value, own.get(key), key)
        for key, value in state.items()
        if not key.endswith(DERIVED) or (key in own and own[key].shape == value.shape)
    }
    misfits = [fault for key, value in state.items() if key in own and (fault := _misfit(key, value, own[key]))]
    missing = [key for key in own if key not in state and not key.endswith(DERIVED)]
    unexpected = [key for key in state if key not in own]
    if misfits or (strict and (missing or unexpected)):
        faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", misfits))
        text = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in faults if keys)
        other = _what_fits(module, tensors) if hint else ""
        raise WeightsError(
            f"these weights are not of this {type(module).__name__}{other} ({text}); check the model's name and size"
        )
    state = {key: value for key, value in state.items() if key in own}
    if not state:
        raise WeightsError(f"none of the {len(tensors)} tensors belongs to this {type(module).__name__}")
    if fault := non_finite(state):
        raise WeightsError(f"these weights hold {fault}; nothing was loaded, get them again")
    return state


def named_tensors(data: object) -> dict[str, Tensor]:
    """The tensors of a state dict, which may lie under the names of `NESTINGS`; empty where there are none."""
    for _ in NESTINGS:
        found = [data[key] for key in NESTINGS if key in data] if isinstance(data, Mapping) else []
        data = next((nested for nested in found if isinstance(nested, Mapping)), data)
    if not isinstance(data, Mapping):
        return {}
    return {key: value for key, value in data.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _converted(module: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Averaged models keep a counter outside of the wrapper that everything else carries.
    state = strip_prefixes({k: v for k, v in state_dict.items() if k != "n_averaged"}, WRAPPERS)
    convert = None if isinstance(module, Backbone) else getattr(module, "convert_official", None)
    try:
        converted: dict[str, Tensor] = convert(state) if convert is not None else backbone_state(module, state)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # A converter may meet the tensors of any other model.
        raise WeightsError(
            f"these weights are not of this {type(module).__name__}: their names or shapes cannot be converted "
            f"({(str(error).splitlines() or [''])[0][:160]}); check the model's name and size"
        ) from error
    return converted


def _misfit(key: str, value: Tensor, own: Tensor) -> str:
    if value.shape != own.shape:
        return f"{key} {tuple(value.shape)} != {tuple(own.shape)}"
    if value.is_floating_point() != own.is_floating_point() and not key.endswith(COUNTERS):
        return f"{key} {value.dtype} != {own.dtype}"
    return ""


def non_finite(state: Mapping[str, Tensor]) -> str:
    """Which tensors hold NaN or infinite values: the first by name, and how many; empty if none does."""
    bad = [key for key, value in state.items() if not value.is_meta and not bool(value.isfinite().all())]
    if not bad:
        return ""
    first = state[bad[0]]
    more = f", and more in {len(bad) - 1} other tensors" if len(bad) > 1 else ""
    return f"NaN or infinite values: {int((~first.isfinite()).sum())} of {first.numel()} in {bad[0]}{more}"


def _what_fits(module: nn.Module, state_dict: Mapping[str, Tensor]) -> str:
    from .fit import fitting_backbone  # it builds models, which only this error needs

    name = fitting_backbone(state_dict)
    if not name:
        return ""
    inner = getattr(module, "backbone", None)
    if isinstance(inner, Backbone):
        with suppress(WeightsError):
            official_state(inner, state_dict, hint=False)
            return ", though they fit its backbone"
    return f" but of the backbone '{name}'"


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
    part = backbone_part(state, own=backbone.state_dict())
    convert = getattr(backbone, "convert_official", None)
    if convert is not None:
        converted: dict[str, Tensor] = convert(part)
        return converted
    own = backbone.state_dict()
    heads = ("head.", *CLASSIFIER_HEADS)
    return {key: value for key, value in part.items() if key in own or not key.startswith(heads)}


def backbone_part(state: Mapping[str, Tensor], *, own: Iterable[str] = ()) -> dict[str, Tensor]:
    """The tensors under a backbone's prefix, without it; all where there is none, or where names in `own` carry it."""
    own = tuple(own)
    for prefix in BACKBONE_PREFIXES:
        if any(key.startswith(prefix) for key in own):
            continue
        found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if found:
            return backbone_part(unwrapped(found, own, WRAPPERS), own=own)
    return dict(state)


def unwrapped(state: Mapping[str, Tensor], own: Iterable[str], prefixes: Iterable[str]) -> dict[str, Tensor]:
    """Take those of the prefixes off that every key carries, but none that a name in `own` carries."""
    own = tuple(own)
    return strip_prefixes(state, [prefix for prefix in prefixes if not any(key.startswith(prefix) for key in own)])


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
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")
