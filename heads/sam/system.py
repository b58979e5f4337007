"""A promptable segmentation system: any backbone under SAM's neck, prompt encoder and mask decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ...backbones.base import Backbone
from ...errors import UsageError
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .official import OfficialNames
from .prompt_encoder import PromptEncoder

STRIDE = 16


class Embedding(NamedTuple):
    """What `System.encode` keeps of a batch of images.

    Attributes:
        image: `[B, 256, H/16, W/16]`.
        maps: The backbone's finer maps that the refine module reads (strides 4 and 8), or none.
    """

    image: Tensor
    maps: tuple[Tensor, ...] = ()

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the encoded images in pixels: the frame that prompts refer to."""
        height, width = self.image.shape[-2:]
        return height * STRIDE, width * STRIDE


class System(OfficialNames):
    """Images are encoded once; any number of prompts is decoded from the embedding.

    Args:
        backbone: Any backbone.
        neck: Called with the maps of `neck_strides`, returns the image embedding.
        prompt_encoder: SAM's.
        mask_decoder: SAM's, perhaps with a refine module in it.
        neck_strides: Strides of the maps that the neck reads, in order.
        refine_strides: Strides of the maps that the refine module reads, in order; none without one.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | TwoScaleNeck,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        neck_strides: tuple[int, ...] = (STRIDE,),
        refine_strides: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        # Of several maps with one stride the last counts: RWKV-SAM's optional middle map comes before the final one.
        by_stride = {info.stride: i for i, info in enumerate(backbone.feature_info)}
        self._neck_maps = tuple(by_stride[stride] for stride in neck_strides)
        self._refine_maps = tuple(by_stride[stride] for stride in refine_strides)

    def encode(self, images: Tensor) -> Embedding:
        """Run backbone and neck.

        Args:
            images: `[B, 3, H, W]`, normalised; H and W multiples of 16 and of what the backbone asks for.

        Raises:
            UsageError: The shape does not fit.
        """
        if images.ndim != 4 or images.shape[-2] % STRIDE or images.shape[-1] % STRIDE:
            raise UsageError(
                f"images have shape {list(images.shape)}, expected [B, 3, H, W] with H and W multiples of {STRIDE}"
            )
        maps = self.backbone(images).maps
        image = self.neck(*(maps[i] for i in self._neck_maps))
        return Embedding(image, tuple(maps[i] for i in self._refine_maps))

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        image_index: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict the masks of N prompts on the encoded images.

        Args:
            embedding: From `encode`.
            boxes: `[N, 4]` as (x0, y0, x1, y1), in pixels of the encoded images.
            points: `[N, P, 2]` as (x, y), likewise.
            labels: `[N, P]`: 1 foreground, 0 background, -1 no point.
            masks: `[N, 1, H/4, W/4]` logits of an earlier prediction.
            image_index: `[N]`, the image of each prompt; may be left out for a batch of one image.
            multimask: Return three masks for each prompt instead of one.

        Returns:
            Mask logits `[N, M, H/4, W/4]` and predicted quality `[N, M]`; M is 3 with `multimask`, else 1.

        Raises:
            UsageError: No prompt, shapes or labels that do not fit, or an image that is not in the batch.
        """
        sparse, dense = self.prompt_encoder(
            frame=embedding.frame, points=points, labels=labels, boxes=boxes, masks=masks
        )
        image = embedding.image
        height, width = image.shape[-2:]
        logits, quality = self.mask_decoder(
            image_embedding=image,
            image_pe=self.prompt_encoder.dense_pe((height, width)),
            sparse=sparse,
            dense=dense,
            image_index=_checked_index(image_index, prompts=len(sparse), images=len(image), device=image.device),
            maps=embedding.maps,
            multimask=multimask,
        )
        return logits, quality

    def convert_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename official keys to this system's; the backbone renames its own part."""
        state = super().convert_official(state_dict)
        convert = getattr(self.backbone, "convert_official", None)
        if convert is None:
            return state
        prefix = "backbone."
        part = convert({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
        rest = {key: value for key, value in state.items() if not key.startswith(prefix)}
        return rest | {prefix + key: value for key, value in part.items()}


def _checked_index(index: Tensor | None, *, prompts: int, images: int, device: torch.device) -> Tensor:
    if index is None:
        if images != 1:
            raise UsageError(f"image_index [N] must say which of the {images} images each prompt is of")
        return torch.zeros(prompts, dtype=torch.long, device=device)
    if index.shape != (prompts,):
        raise UsageError(f"image_index has shape {list(index.shape)}, expected [{prompts}], one image per prompt")
    if prompts and not 0 <= int(index.min()) <= int(index.max()) < images:
        raise UsageError(f"image_index must lie in 0..{images - 1}, found {int(index.min())}..{int(index.max())}")
    return index.to(device, torch.long)
