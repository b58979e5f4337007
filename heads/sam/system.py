"""A promptable segmentation system: any backbone under SAM's neck, prompt encoder and mask decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ...backbones.base import Backbone
from ...errors import UsageError
from .choice import MaskChoice, choose_masks, needs_multimask
from .efficient_prompts import EfficientPromptEncoder
from .mask_decoder import MaskDecoder
from .neck import Neck, TwoScaleNeck
from .official import OfficialNames
from .preprocess import Preprocessing
from .prompt_encoder import PromptEncoder

STRIDE = 16


class Embedding(NamedTuple):
    """What `System.encode` keeps of a batch of images.

    Attributes:
        image: `[B, 256, H/16, W/16]`.
        maps: The maps of the backbone that the decoder reads: those of strides 4 and 8 for the refine module, the early
            one for HQ-SAM's decoder, or none.
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
        neck: Called with the maps `neck_maps`, returns the image embedding.
        prompt_encoder: SAM's or EfficientSAM's.
        mask_decoder: SAM's, perhaps with a refine module in it, or one made from it.
        neck_maps: Which of the backbone's maps the neck reads, by index, in order.
        decoder_maps: Which of them the decoder reads, likewise.

    Attributes:
        preprocessing: How images are to be brought into the frame and logits back; SAM's way unless set.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | TwoScaleNeck,
        prompt_encoder: PromptEncoder | EfficientPromptEncoder,
        mask_decoder: MaskDecoder,
        neck_maps: tuple[int, ...] = (-1,),
        decoder_maps: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.preprocessing = Preprocessing()
        self._neck_maps = neck_maps
        self._decoder_maps = decoder_maps

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
        return Embedding(image, tuple(maps[i] for i in self._decoder_maps))

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
            labels: `[N, P]`: 1 foreground, 0 background, -1 no point; for EfficientSAM also 2 and 3, corners of a box.
            masks: `[N, 1, H/4, W/4]` logits of an earlier prediction.
            image_index: `[N]`, the image of each prompt; may be left out for a batch of one image.
            multimask: Return three masks for each prompt instead of one.

        Returns:
            Mask logits `[N, M, H/4, W/4]` and predicted quality `[N, M]`; M is 3 with `multimask`, else 1 (and 1 where
            only the HQ token's mask is wanted).

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

    def predict(
        self,
        embedding: Embedding,
        *,
        choice: MaskChoice = "single",
        truth: Tensor | None = None,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        image_index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict one mask for each of N prompts.

        Args:
            embedding: From `encode`.
            choice: Which of SAM's masks, see `choose_masks`.
            truth: `[N, H, W]` true masks of the frame, for `choice="oracle"`.
            boxes: As for `decode`, and so are the rest.
            points: Points.
            labels: Their labels.
            masks: Earlier logits.
            image_index: Image of each prompt.

        Returns:
            Mask logits `[N, 1, H/4, W/4]` and predicted quality `[N, 1]`.

        Raises:
            UsageError: As for `decode` and `choose_masks`.
        """
        logits, quality = self.decode(
            embedding,
            boxes=boxes,
            points=points,
            labels=labels,
            masks=masks,
            image_index=image_index,
            multimask=needs_multimask(choice),
        )
        return choose_masks(logits, quality, choice=choice, truth=truth)

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
