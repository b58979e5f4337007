"""Segmenters of the suite, and what one training step computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones import backbone_options, backbone_spec
from ...backbones.official import load_official
from ...backbones.weights import read_checkpoint
from ...errors import UsageError, WeightsError
from ...heads.upernet import Segmenter, create_segmenter
from ..data.semseg_classes import IGNORED
from .options import Ade20kOptions

HEADS = ("decode_head.", "auxiliary_head.")
_WIDTH = "decode_head.fpn_bottleneck.conv.weight"


def new_segmenter(backbone: str, classes: int, options: Ade20kOptions) -> Segmenter:
    """A segmenter to be trained, with random weights or the given ones in its backbone.

    Raises:
        UsageError: Unknown name, or official weights that are not known.
        WeightsError: The backbone's weights do not fit.
    """
    recipe = options.recipe
    known = backbone_options(backbone)
    overrides = kernel_choice(backbone, options.kernels)
    if recipe.drop_path is not None and "drop_path" in known:
        overrides["drop_path"] = recipe.drop_path
    # A pretrained backbone brings its own.
    if recipe.layer_scale is not None and "layer_scale" in known and options.backbone_weights is None:
        overrides["layer_scale"] = recipe.layer_scale
    return create_segmenter(
        backbone,
        num_classes=classes,
        backbone_weights=options.backbone_weights,
        channels=recipe.channels,
        dropout=recipe.dropout,
        auxiliary=recipe.auxiliary > 0,
        **overrides,
    )


def load_segmenter(backbone: str, classes: int, path: Path, *, kernels: str) -> Segmenter:
    """A segmenter for a checkpoint, loaded; width and auxiliary head are the checkpoint's.

    Raises:
        WeightsError: It is unreadable, of another model or number of classes, or holds no UperNet.
    """
    state = read_checkpoint(path)
    width = next((value.shape[0] for key, value in state.items() if key.endswith(_WIDTH)), None)
    if width is None:
        raise WeightsError(f"{path} holds no UperNet ({_WIDTH}); give a checkpoint of a whole segmenter")
    segmenter = create_segmenter(
        backbone,
        num_classes=classes,
        channels=width,
        auxiliary=any("auxiliary_head." in key for key in state),
        **kernel_choice(backbone, kernels),
    )
    try:
        load_official(segmenter, state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}; these data have {classes} classes") from error
    return segmenter


def kernel_choice(backbone: str, kernels: str) -> dict[str, Any]:
    """The backend of LinBench's operators as an argument of `create_backbone`; none for a backbone without them."""
    if backbone_spec(backbone).operators:
        return {"kernels": kernels}
    if kernels != "auto":
        raise UsageError(f"'{backbone}' calls none of LinBench's operators, so --kernels {kernels} cannot apply")
    return {}


class SegmentationStep(nn.Module):
    """Cross-entropy of both heads.

    It is averaged over all pixels, those that do not count included, as mmsegmentation does: so each pixel weighs the
    same in every batch, however the images are shared by processes and passes.

    Args:
        segmenter: All of it is trained.
        auxiliary: Weight of the auxiliary head's loss.
        head_lr_scale: Learning rate of the heads over that of the backbone.
    """

    def __init__(self, segmenter: Segmenter, *, auxiliary: float, head_lr_scale: float) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.auxiliary = auxiliary
        self.head_lr_scale = head_lr_scale

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses by name, weighted, of a `SemanticBatch`."""
        classes = batch["classes"].long()
        if not self.auxiliary:
            return {"main": _mean_loss(self.segmenter(batch["images"]), classes)}
        main, auxiliary = self.segmenter.with_auxiliary(batch["images"])
        return {"main": _mean_loss(main, classes), "auxiliary": self.auxiliary * _mean_loss(auxiliary, classes)}

    def lr_scales(self) -> dict[str, float]:
        """Factors of the learning rate by the beginning of a parameter's name."""
        return {f"segmenter.{head}": self.head_lr_scale for head in HEADS}

    def no_weight_decay(self) -> set[str]:
        """Position embeddings do not decay, as in RWKV-SAM's training; nor do vectors, which need not be named."""
        return {"segmenter.backbone.*pos_embed*"}


def _mean_loss(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), classes, ignore_index=IGNORED, reduction="sum") / classes.numel()
