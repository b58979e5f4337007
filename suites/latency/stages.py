"""The stages of a promptable system as modules, and prompts for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...heads.sam import Embedding, System
from .models import Inputs


class Encoder(nn.Module):
    """A system's backbone and neck: images `[B, 3, H, W]` to the embedding and the maps that the decoder reads."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, images: Tensor) -> Inputs:
        embedding = self.system.encode(images)
        return embedding.image, *embedding.maps


class Decoder(nn.Module):
    """A system's decoder: boxes `[N, 4]` on images `[N]` of a stored embedding to mask logits and quality."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    @property
    def timed_parts(self) -> list[nn.Module]:
        """The modules whose weights a call reads."""
        return [self.system.prompt_encoder, self.system.mask_decoder]

    def forward(self, boxes: Tensor, index: Tensor, image: Tensor, *maps: Tensor) -> Inputs:
        return _decode(self.system, Embedding(image, maps), boxes, index)


class EndToEnd(nn.Module):
    """Both: boxes `[N, 4]` on images `[N]` of `[B, 3, H, W]` to mask logits and quality."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, boxes: Tensor, index: Tensor, images: Tensor) -> Inputs:
        return _decode(self.system, self.system.encode(images), boxes, index)


def _decode(system: System, embedding: Embedding, boxes: Tensor, index: Tensor) -> Inputs:
    # Indices are looked at, which a graph cannot capture; one image needs none.
    return system.decode(embedding, boxes=boxes, image_index=index if len(embedding.image) > 1 else None)


STAGES = {"encoder": Encoder, "decoder": Decoder, "e2e": EndToEnd}


def prompted_inputs(model: nn.Module, images: Tensor, *, prompts: int, generator: torch.Generator) -> Inputs:
    """The arguments of one call of `Decoder` or `EndToEnd`.

    Args:
        model: Which of the two.
        images: `[B, 3, H, W]`.
        prompts: Boxes for each image.
        generator: Where the boxes come from.
    """
    count, (height, width) = len(images), images.shape[-2:]
    corners = torch.rand(count * prompts, 2, 2, generator=generator).sort(dim=1).values
    boxes = (corners * torch.tensor([width, height])).flatten(1).to(images.device)
    index = torch.arange(count, device=images.device).repeat_interleave(prompts)
    if isinstance(model, Decoder):
        return boxes, index, *Encoder(model.system)(images)
    return boxes, index, images
