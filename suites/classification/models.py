"""Classifiers of the suite: a backbone under a linear head, or a timm model with its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ...backbones import backbone_options, backbone_spec
from ...backbones.official import WRAPPERS, load_official, strip_prefixes
from ...backbones.timm_models import check_name
from ...backbones.weights import read_checkpoint
from ...errors import UsageError, WeightsError
from ...heads.classifier import create_classifier
from ..data.class_names import metadata
from .originals import DROP_PATH
from .preprocess import TIMM
from .recipes import ClassificationRecipe

_HEADS = re.compile(r"(.*\.)?(head|fc|classifier)(\.(fc|head|l|2|layers\.head))?\.weight")

_OTHER_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True})


class TimmClassifier(nn.Module):
    """A timm model with its own head.

    Args:
        model: timm's name, for example `resnet50`.
        outputs: Classes.
        size: Side of the input in pixels, where it is not the model's own.
        drop_path: Stochastic depth of the last block.

    Raises:
        UsageError: timm has no such model, or cannot build it so.
    """

    def __init__(self, model: str, outputs: int, *, size: int | None = None, drop_path: float = 0.0) -> None:
        super().__init__()
        check_name(model)
        self.model: Any = None
        options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        # Transformers take another size only when told so, each family in a way of its own.
        for told in ({}, *_OTHER_SIZE)[:: -1 if size is not None else 1]:
            with suppress(TypeError):
                self.model = timm.create_model(model, num_classes=outputs, **options, **told)
                break
        if self.model is None:
            raise UsageError(f"timm cannot build '{model}' with {options or 'its defaults'}; leave them out")
        self.width = int(self.model.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """`images: [B, 3, H, W]`, normalised -> logits `[B, outputs]`."""
        logits: Tensor = self.model(images)
        return logits

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names as timm has them, or these behind `model.`, to ours."""
        return {f"model.{key}": value for key, value in state.items()}


def create_model(
    backbone: str, outputs: int, *, kernels: str = "auto", recipe: ClassificationRecipe | None = None, size: int = 224
) -> nn.Module:
    """Build a classifier with random weights.

    Args:
        backbone: Registry name or `timm:<name>`.
        outputs: Classes.
        kernels: Backend of LinBench's operators.
        recipe: Gives stochastic depth and layer scale of a model that is to be trained.
        size: Side of the input; vision transformers of timm are told it where it is not their own.

    Raises:
        UsageError: Unknown name, or an option the model has not.
    """
    rate = 0.0 if recipe is None else drop_path(backbone, recipe)
    if backbone.startswith(TIMM):
        name = backbone.removeprefix(TIMM)
        check_name(name)
        config = timm.get_pretrained_cfg(name)
        own = config is None or size == config.input_size[-1]
        return TimmClassifier(name, outputs, size=None if own else size, drop_path=rate)
    known = backbone_options(backbone)
    overrides: dict[str, Any] = {"drop_path": rate} if rate else {}
    if recipe is not None and recipe.layer_scale is not None and "layer_scale" in known:
        overrides["layer_scale"] = recipe.layer_scale
    if backbone_spec(backbone).operators:
        overrides["kernels"] = kernels
    return create_classifier(backbone, num_classes=outputs, **overrides)


def load_model(backbone: str, path: Path, *, kernels: str = "auto", size: int = 224) -> tuple[nn.Module, int]:
    """Build a classifier for a checkpoint and load it; its head has as many outputs as the checkpoint's.

    Raises:
        WeightsError: It is unreadable, of another model, or has no classifier head.
    """
    state = read_checkpoint(path)
    outputs = head_outputs(state)
    if outputs is None:
        raise WeightsError(
            f"{path} holds no classifier head (head.weight, fc.weight, ...); give a checkpoint of a whole classifier"
        )
    model = create_model(backbone, outputs, kernels=kernels, size=size)
    try:
        load_official(model, state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return model, outputs


def trained_size(path: Path) -> int | None:
    """The side in pixels that a checkpoint of this suite was evaluated at; None where the file does not say."""
    size = metadata(path).get("size", "")
    return int(size) if size.isdecimal() else None


def head_outputs(state: Mapping[str, Tensor]) -> int | None:
    """Outputs of the classifier head among tensors by name; None where there is none."""
    names = strip_prefixes(state, WRAPPERS)
    found = [key for key, value in names.items() if _HEADS.fullmatch(key) and value.ndim in (2, 4)]
    # The outermost name is the head's; projections inside of blocks may be called `fc` too.
    return int(names[min(found, key=lambda key: key.count("."))].shape[0]) if found else None


def drop_path(backbone: str, recipe: ClassificationRecipe) -> float:
    """Stochastic depth of the last block in training: the recipe's, else the published one of the backbone, else 0."""
    if recipe.drop_path is not None:
        own = backbone.startswith(TIMM) or "drop_path" in backbone_options(backbone)
        return recipe.drop_path if own else 0.0
    return DROP_PATH.get(backbone, 0.0)


@torch.inference_mode()
def check_size(model: nn.Module, backbone: str, size: int, device: str) -> None:
    """Put one black image through the model.

    Raises:
        UsageError: The model does not take images of this size.
    """
    training = model.training
    try:
        model.eval()(torch.zeros(1, 3, size, size, device=device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, ValueError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{backbone} does not take images of {size}x{size} pixels: {line}") from error
    finally:
        model.train(training)
