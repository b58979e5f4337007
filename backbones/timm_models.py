"""Any timm model as a backbone, through timm's `features_only`."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor

from ..errors import ImageSizeError, UsageError
from .base import Backbone, FeatureInfo, Features

# How PyTorch tells that tensors do not fit each other, which is how a model of fixed size meets another.
OTHER_SIZE = re.compile(r"^The size of tensor|is invalid for input of size|to broadcast a dimension of length")
LEFT_OUT = ("head.", "fc.", "classifier.", "norm.", "fc_norm.")


class TimmBackbone(Backbone):
    """A timm model that returns its feature maps.

    Of several maps with the same stride (every block of a plain ViT) only the last is kept.

    Args:
        model: timm's name, for example `resnet50`.
        pretrained: Load timm's weights (downloads them).
        options: Passed on to `timm.create_model`.
    """

    def __init__(self, *, model: str, pretrained: bool = False, **options: Any) -> None:
        super().__init__()
        check_name(model)
        # Vision transformers, plain ones and Swin, take any image size only when told so at construction.
        for option, value in (("dynamic_img_size", True), ("strict_img_size", False)):
            if option not in options and _accepts(model, option):
                options[option] = value
        try:
            net: Any = timm.create_model(model, pretrained=pretrained, features_only=True, **options)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise UsageError(f"timm model '{model}' does not give feature maps: {error}") from error
        self.name, self.model = model, net
        # Swin and its kin return [B, H, W, C], and say so; shapes cannot tell where H or W equals C.
        self.channels_first = getattr(net, "output_fmt", "NCHW") == "NCHW"
        infos = net.feature_info.get_dicts()
        last = {int(info["reduction"]): index for index, info in enumerate(infos)}
        self.keep = tuple(sorted(last.values()))
        self.feature_info = tuple(FeatureInfo(int(infos[i]["num_chs"]), int(infos[i]["reduction"])) for i in self.keep)
        self.pooled_channels = self.feature_info[-1].channels
        # Some models' own size is no multiple of their coarsest stride, and they serve no other.
        config = timm.get_pretrained_cfg(model)
        own_size = config.input_size[1:] if config else ()
        self.image_multiple = math.gcd(max(info.stride for info in self.feature_info), *own_size)

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of `image_multiple`; `pooled` is the mean of the last map.

        Raises:
            ImageSizeError: The model is built for another image size.
        """
        self.check_images(images)
        try:
            out = self.model(images)
        except (AssertionError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not OTHER_SIZE.search(str(error)):
                raise
            height, width = images.shape[-2:]
            why = (str(error).splitlines() or ["by a check of its own"])[0]
            raise ImageSizeError(
                f"timm's {self.name} cannot serve images of {height}x{width} ({why}); use the size it is built for, or "
                f"build it with img_size=({height}, {width}), which some timm models take"
            ) from error
        maps = [out[index] if self.channels_first else out[index].permute(0, 3, 1, 2) for index in self.keep]
        return Features(tuple(maps), maps[-1].mean(dim=(2, 3)))

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Set timm's own option.

        Raises:
            UsageError: This timm model has none.
        """
        model = next((m for m in (self.model, getattr(self.model, "model", None)) if has_checkpointing(m)), None)
        if model is None:
            raise UsageError(f"timm's {type(self.model).__name__} has no gradient checkpointing; leave it out")
        model.set_grad_checkpointing(enabled)
        super().set_gradient_checkpointing(enabled)

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring timm's own names to those under `features_only`, and leave the head and the norm before it out."""
        own = {_plain(key): key for key in self.state_dict()}
        return {
            own.get(_plain(key), key): value
            for key, value in state.items()
            if _plain(key) in own or not key.startswith(LEFT_OUT)
        }


def has_checkpointing(model: object) -> bool:
    """Whether a timm model can compute its blocks again in backward."""
    return hasattr(model, "set_grad_checkpointing")


def check_name(model: str) -> None:
    """Raise `UsageError` where timm has no such model; the message suggests near names."""
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f" Did you mean {', '.join(close)}?" if close else " See `timm.list_models()`."
        raise UsageError(f"timm has no model '{model}'.{hint}")


def _accepts(model: str, option: str) -> bool:
    module = inspect.getmodule(inspect.unwrap(timm.model_entrypoint(model)))
    models = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if hasattr(kind, "get_classifier")]
    return any(option in inspect.signature(kind).parameters for kind in models)


def _plain(key: str) -> str:
    # features_only wraps some models once more and flattens others: `stages.0.` becomes `stages_0.`.
    return re.sub(r"^(model\.)+", "", key).replace("_", ".")
