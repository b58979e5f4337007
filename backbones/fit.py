"""Which registered backbone a checkpoint is of, so that an error can say it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import LinBenchError
from .registry import all_specs, create_backbone
from .spec import BackboneSpec

TOLERANCE = 0.03


def fitting_backbone(state: Mapping[str, Tensor]) -> str:
    """Name of a registered backbone that these tensors load into with none missing or unexpected; empty if none does.

    Only those whose stated parameter count is near are built, on the meta device, which costs next to nothing.

    Args:
        state: Tensors by official name, of a backbone or a classifier.
    """
    from .official import WRAPPERS, backbone_part, official_state, strip_prefixes  # it calls this for its errors

    part = backbone_part(strip_prefixes(state, WRAPPERS))
    count = sum(value.numel() for value in part.values() if value.is_floating_point())
    for spec in _near(count):
        module = _hollow(spec.name)
        if module is None:
            continue
        try:
            official_state(module, state, hint=False)
        except LinBenchError:
            continue
        return spec.name
    return ""


def _near(count: int) -> list[BackboneSpec]:
    def distance(spec: BackboneSpec) -> float:
        return min((abs(count - stated) / stated for stated in spec.params.values()), default=1.0)

    return sorted((spec for spec in all_specs().values() if distance(spec) < TOLERANCE), key=distance)


def _hollow(name: str) -> nn.Module | None:
    try:
        with torch.device("meta"):
            return create_backbone(name)
    except (LinBenchError, RuntimeError, NotImplementedError):
        return None
