"""A classifier on any backbone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..backbones import create_backbone
from ..backbones.base import Backbone
from ..backbones.layers import init_linear_
from ..backbones.official import (
    BACKBONE_PREFIXES,
    CLASSIFIER_HEADS,
    WRAPPERS,
    backbone_state,
    unwrapped,
)
from ..backbones.weight_files import resolve_weights
from ..backbones.weights import load_checkpoint


class Classifier(nn.Module):
    """Backbone, then one linear layer on its pooled feature (two with a Tanh between where the original has them).

    Args:
        backbone: Any backbone.
        num_classes: Outputs.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int = 1000) -> None:
        super().__init__()
        self.backbone = backbone
        width, hidden = backbone.pooled_channels, backbone.head_hidden
        self.head = (
            nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, num_classes))
            if hidden
            else nn.Linear(width, num_classes)
        )
        self.head.apply(init_linear_)

    def forward(self, images: Tensor) -> Tensor:
        """`images: [B, 3, H, W]`, normalised -> logits `[B, num_classes]`."""
        return self.head(self.backbone(images).pooled)

    def convert_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring official layouts (`backbone.` prefixed or bare; `head`, `head.fc`, `fc`, `classifier`) to our names."""
        own = {f"head.{key}" for key in self.head.state_dict()}
        state = unwrapped(state, self.backbone.state_dict(), (*WRAPPERS, *BACKBONE_PREFIXES))
        head: dict[str, Tensor] = {}
        body: dict[str, Tensor] = {}
        for key, value in state.items():
            name = next((new + key[len(old) :] for old, new in CLASSIFIER_HEADS.items() if key.startswith(old)), key)
            if name in own:
                head[name] = value
            else:
                body[key] = value
        return {**{f"backbone.{key}": value for key, value in backbone_state(self.backbone, body).items()}, **head}


def create_classifier(
    name: str, *, num_classes: int = 1000, weights: str | None = None, **overrides: Any
) -> Classifier:
    """Build a classifier: `logits [B, num_classes] = classifier(images)`.

    Args:
        name: Backbone name, as `create_backbone` takes it.
        num_classes: Outputs.
        weights: None for random initialisation, the path of a checkpoint of the whole classifier, `official` for its
            default official checkpoint (downloaded where it is not here), or `official:<tag>`.
        overrides: Passed on to `create_backbone`.

    Raises:
        UsageError: Unknown name or option, or official weights that are not known.
        WeightsError: The checkpoint does not fit, or cannot be downloaded.
    """
    classifier = Classifier(create_backbone(name, **overrides), num_classes=num_classes)
    if weights is not None:
        load_checkpoint(classifier, resolve_weights(name, weights))
    return classifier
