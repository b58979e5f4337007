"""A linear classifier on any backbone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..backbones import create_backbone
from ..backbones.base import Backbone
from ..backbones.official import CLASSIFIER_HEADS, backbone_state, load_official
from ..backbones.weights import read_checkpoint


class Classifier(nn.Module):
    """Backbone, then one linear layer on its pooled feature.

    Args:
        backbone: Any backbone.
        num_classes: Outputs.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int = 1000) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.pooled_channels, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """`images: [B, 3, H, W]`, normalised -> logits `[B, num_classes]`."""
        return self.head(self.backbone(images).pooled)

    def convert_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring official layouts (`backbone.` prefixed or bare; `head`, `head.fc`, `fc`, `classifier`) to our names."""
        head: dict[str, Tensor] = {}
        body: dict[str, Tensor] = {}
        for key, value in state.items():
            name = next((new + key[len(old) :] for old, new in CLASSIFIER_HEADS.items() if key.startswith(old)), key)
            (head if name in {"head.weight", "head.bias"} else body)[name] = value
        return {**{f"backbone.{key}": value for key, value in backbone_state(self.backbone, body).items()}, **head}


def create_classifier(
    name: str, *, num_classes: int = 1000, weights: str | None = None, **overrides: Any
) -> Classifier:
    """Build a classifier: `logits [B, num_classes] = classifier(images)`.

    Args:
        name: Backbone name, as `create_backbone` takes it.
        num_classes: Outputs.
        weights: Path of a checkpoint of the whole classifier, or None for random initialisation.
        overrides: Passed on to `create_backbone`.

    Raises:
        UsageError: Unknown name or option.
        WeightsError: The checkpoint does not fit.
    """
    classifier = Classifier(create_backbone(name, **overrides), num_classes=num_classes)
    if weights is not None:
        load_official(classifier, read_checkpoint(weights))
    return classifier
