"""A semantic segmenter on any backbone."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones import backbone_spec, create_backbone
from ...backbones.base import Backbone
from ...backbones.official import BACKBONE_PREFIXES, WRAPPERS, backbone_state, unwrapped
from ...backbones.weight_files import resolve_weights
from ...backbones.weights import load_checkpoint
from ...errors import UsageError
from .head import FcnHead, UperHead
from .norm import sync_batch_norms
from .pyramid import Pyramid

HEADS = ("decode_head.", "auxiliary_head.", "neck.")
AUXILIARY_CHANNELS = 256

Size = tuple[int, int]


class Segmenter(nn.Module):
    """Backbone, four-level pyramid, UperNet; beside it, for training, an auxiliary head on the third level.

    Batch norms, the backbone's too, take their training statistics over all processes.

    Args:
        backbone: Any backbone.
        num_classes: Outputs.
        channels: Width of UperNet.
        dropout: Rate of dropped channels before the classifiers.
        auxiliary: Whether there is an auxiliary head.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int = 150,
        channels: int = 512,
        dropout: float = 0.1,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if num_classes < 2 or channels < 1 or not 0 <= dropout < 1:
            raise UsageError(
                f"num_classes {num_classes}, channels {channels}, dropout {dropout} cannot be; "
                "expected 2 or more, 1 or more, and 0 to below 1"
            )
        self.backbone = backbone
        self.neck = Pyramid(backbone.feature_info)
        levels = self.neck.feature_info
        self.decode_head = UperHead(levels, num_classes=num_classes, channels=channels, dropout=dropout)
        self.auxiliary_head = (
            FcnHead(
                levels[2].channels,
                num_classes=num_classes,
                channels=min(AUXILIARY_CHANNELS, channels),
                dropout=dropout,
            )
            if auxiliary
            else None
        )
        sync_batch_norms(self.backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits of every pixel.

        Args:
            images: `[B, 3, H, W]`, normalised, of any size: sides that the backbone cannot serve are padded on the
                right and below with zeros, the mean colour, and what is predicted there is cut off.

        Returns:
            `[B, K, H, W]`, enlarged from stride 4, bilinear.
        """
        levels, padded = self._levels(images)
        return _enlarged(self.decode_head(levels), padded, images)

    def with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads, each `[B, K, H, W]`; arguments as for `forward`.

        Raises:
            UsageError: The segmenter has no auxiliary head.
        """
        if self.auxiliary_head is None:
            raise UsageError("this segmenter was built without its auxiliary head; build it with auxiliary=True")
        levels, padded = self._levels(images)
        heads = self.decode_head(levels), self.auxiliary_head(levels[2])
        return _enlarged(heads[0], padded, images), _enlarged(heads[1], padded, images)

    def convert_official(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring mmsegmentation's layout to our names: its heads are named alike, the backbone names its own part."""
        state = unwrapped(state, self.state_dict(), WRAPPERS)
        heads = {key: value for key, value in state.items() if key.startswith(HEADS)}
        if self.auxiliary_head is None:
            heads = {key: value for key, value in heads.items() if not key.startswith("auxiliary_head.")}
        body = {key: value for key, value in state.items() if not key.startswith(HEADS)}
        body = unwrapped(body, self.backbone.state_dict(), BACKBONE_PREFIXES)
        return {**{f"backbone.{key}": value for key, value in backbone_state(self.backbone, body).items()}, **heads}

    def _levels(self, images: Tensor) -> tuple[tuple[Tensor, ...], Size]:
        """The four maps, and the size of the padded images that they cover."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
            raise UsageError(f"images have shape {tuple(images.shape)}; expected [B, 3, H, W]")
        step = self.backbone.image_multiple
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % step, 0, -height % step))
        return self.neck(self.backbone(padded).maps), (padded.shape[-2], padded.shape[-1])


def _enlarged(logits: Tensor, padded: Size, images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    return F.interpolate(logits, padded, mode="bilinear", align_corners=False)[..., :height, :width]


def create_segmenter(
    name: str,
    *,
    num_classes: int = 150,
    weights: str | None = None,
    backbone_weights: str | None = None,
    channels: int = 512,
    dropout: float = 0.1,
    auxiliary: bool = True,
    **overrides: Any,
) -> Segmenter:
    """Build a segmenter: `logits [B, num_classes, H, W] = segmenter(images)`.

    The backbone is built as dense heads want it (`BackboneSpec.dense`), and with the blocks that its authors add for
    UperNet (`BackboneSpec.pyramid`: RWKV-SAM's block of stride 32).

    Args:
        name: Backbone name, as `create_backbone` takes it.
        num_classes: Outputs.
        weights: None for random initialisation, or the path of a checkpoint of the whole segmenter, LinBench's or
            mmsegmentation's.
        backbone_weights: What the backbone starts from: None, the path of a checkpoint of it or of its classifier, or
            `official` and `official:<tag>`, as for `create_backbone`. Parts that only the dense form has stay random.
        channels: Width of UperNet.
        dropout: Rate of dropped channels before the classifiers.
        auxiliary: Whether to build the auxiliary head that training needs.
        overrides: Passed on to `create_backbone`.

    Raises:
        UsageError: Unknown name or option, or both kinds of weights.
        WeightsError: A checkpoint is missing, damaged or of another model.
    """
    if weights is not None and backbone_weights is not None:
        raise UsageError("weights of the whole segmenter hold its backbone; leave backbone_weights out")
    spec = backbone_spec(name)
    backbone = create_backbone(name, **{**spec.dense, **spec.pyramid, **overrides})
    if backbone_weights is not None:
        source = create_backbone(name, weights=backbone_weights, **overrides).state_dict()
        own = backbone.state_dict()
        backbone.load_state_dict({key: value for key, value in source.items() if key in own}, strict=False)
    segmenter = Segmenter(backbone, num_classes=num_classes, channels=channels, dropout=dropout, auxiliary=auxiliary)
    if weights is not None:
        load_checkpoint(segmenter, resolve_weights(name, weights))
    return segmenter
