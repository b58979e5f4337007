"""HQ-SAM's mask decoder: SAM's with one token more, whose mask sees an early map of the backbone.

Source: Ke et al., "Segment Anything in High Quality" (arXiv 2306.01567; SysCV/sam-hq). Parameter names are the official
ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from .layers import MLP, channel_product
from .mask_decoder import MaskDecoder
from .refine import weighted_convolution
from .transformer import TwoWayTransformer, per_prompt


def _upscaling(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(in_dim, hidden_dim, kernel_size=2, stride=2),
        LayerNorm2d(hidden_dim),
        nn.GELU(),
        nn.ConvTranspose2d(hidden_dim, out_dim, kernel_size=2, stride=2),
    )


class HqMaskDecoder(MaskDecoder):
    """SAM's mask decoder with the HQ token; its mask is added to SAM's or replaces it.

    `forward` takes the early map (stride 16) as the only one of `maps`. With `multimask` each of SAM's three masks gets
    the HQ mask added; the original then keeps the one with the highest predicted quality.

    Args:
        transformer: The two-way transformer.
        early_channels: Channels of the early map.
        hq_token_only: Return the HQ mask alone, always one for each prompt; its quality is SAM's prediction for token
            0, or with `multimask` the highest of tokens 1..3, as in the original.
        dim: Token width.
    """

    def __init__(
        self, *, transformer: TwoWayTransformer, early_channels: int, hq_token_only: bool = False, dim: int = 256
    ) -> None:
        super().__init__(transformer=transformer, dim=dim)
        self.hq_token_only = hq_token_only
        mask_dim = dim // 8
        self.hf_token = nn.Embedding(1, dim)
        self.hf_mlp = MLP(in_dim=dim, hidden_dim=dim, out_dim=mask_dim, depth=3)
        self.compress_vit_feat = _upscaling(early_channels, dim, mask_dim)
        self.embedding_encoder = _upscaling(dim, dim // 4, mask_dim)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(mask_dim, dim // 4, kernel_size=3, padding=1),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.Conv2d(dim // 4, mask_dim, kernel_size=3, padding=1),
        )

    def own_tokens(self) -> Tensor:
        """SAM's own tokens, then the HQ token."""
        return torch.cat([super().own_tokens(), self.hf_token.weight])

    def read_masks(
        self,
        tokens: Tensor,
        mask_feature: Tensor,
        *,
        image_embedding: Tensor,
        image_index: Tensor,
        maps: tuple[Tensor, ...],
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """As for `MaskDecoder`."""
        logits, quality = super().read_masks(
            tokens,
            mask_feature,
            image_embedding=image_embedding,
            image_index=image_index,
            maps=maps,
            multimask=multimask,
        )
        (early,) = maps
        fused = self.embedding_encoder(image_embedding) + self.compress_vit_feat(early)
        hq_weights = self.hf_mlp(tokens[:, len(self.own_tokens()) - 1]).unsqueeze(1)  # [N, 1, C / 8]
        *first, last = self.embedding_maskfeature
        hidden = mask_feature
        for layer in first:
            hidden = layer(hidden)
        hq = weighted_convolution(hq_weights, hidden, cast(nn.Conv2d, last))
        hq = hq + channel_product(hq_weights, per_prompt(fused, image_index))
        if self.hq_token_only:
            return hq, quality.amax(dim=1, keepdim=True)
        return logits + hq, quality


@contextmanager
def hq_mask_alone(decoder: nn.Module, wanted: bool = True) -> Iterator[None]:
    """In the block an HQ decoder gives the HQ token's mask alone, if that is wanted; other decoders are as they are."""
    if not wanted or not isinstance(decoder, HqMaskDecoder):
        yield
        return
    before, decoder.hq_token_only = decoder.hq_token_only, True
    try:
        yield
    finally:
        decoder.hq_token_only = before
