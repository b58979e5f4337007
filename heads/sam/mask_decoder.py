"""SAM's mask decoder (segment-anything); RWKV-SAM's and EfficientSAM's changes are options."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...backbones.layers import LayerNorm2d
from ...errors import UsageError
from .layers import MLP, Activation, channel_product
from .official import OfficialNames
from .transformer import TwoWayTransformer, per_prompt

MASK_TOKENS = 4


class MaskDecoder(OfficialNames):
    """Prompt tokens and an image embedding to mask logits and predicted mask quality.

    Args:
        transformer: The two-way transformer.
        refine: Called as `refine(mask_weights, mask_feature, maps=..., image_index=...) -> logits`, or None for SAM's
            plain dot product.
        single_mask: Keep mask token 0 and its hypernetwork only, as RWKV-SAM does. The weights of the four tokens and
            the four outputs of the quality head stay, as in official checkpoints.
        dim: Token width.
        activation: Of the hypernetworks and the quality head; EfficientSAM's is GELU.
        norm: Builds the norm between the upscaling convolutions from its channels; EfficientSAM's spans the whole map.
    """

    official_prefix = "mask_decoder."

    def __init__(
        self,
        *,
        transformer: TwoWayTransformer,
        refine: nn.Module | None = None,
        single_mask: bool = False,
        dim: int = 256,
        activation: Activation = F.relu,
        norm: Callable[[int], nn.Module] = LayerNorm2d,
    ) -> None:
        super().__init__()
        self.single_mask = single_mask
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            norm(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(in_dim=dim, hidden_dim=dim, out_dim=dim // 8, depth=3, activation=activation)
            for _ in range(1 if single_mask else MASK_TOKENS)
        )
        self.iou_prediction_head = MLP(in_dim=dim, hidden_dim=dim, out_dim=MASK_TOKENS, depth=3, activation=activation)
        self.refine = refine

    def forward(
        self,
        *,
        image_embedding: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        image_index: Tensor,
        maps: tuple[Tensor, ...] = (),
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Predict the masks of N prompts.

        Args:
            image_embedding: `[B, C, h, w]`.
            image_pe: `[1, C, h, w]`.
            sparse: `[N, S, C]`, from the prompt encoder.
            dense: `[N, C, h, w]`, or `[1, C, 1, 1]` where it is the same for all prompts.
            image_index: `[N]`, the image of each prompt.
            maps: Maps of the backbone that the decoder reads: those of strides 4 and 8 with a refine module.
            multimask: Return the three masks of tokens 1..3 instead of that of token 0.

        Returns:
            Logits `[N, M, 4h, 4w]` and predicted quality `[N, M]`; M is 3 with `multimask`, else 1.

        Raises:
            UsageError: Several masks are wanted from a decoder that keeps one token.
        """
        if multimask and self.single_mask:
            raise UsageError(
                "this decoder keeps one mask token: call with multimask=False or build with single_mask=False"
            )
        own = self.own_tokens().expand(len(sparse), -1, -1)
        tokens = torch.cat([own, sparse.to(own.dtype)], dim=1)

        same_for_all = dense.shape[-2:] == (1, 1)
        start = image_embedding if same_for_all else per_prompt(image_embedding, image_index)
        grid = image_embedding.shape[-2:]
        tokens, image = self.transformer(
            tokens,
            (start + dense).flatten(2).transpose(1, 2),
            image_pe=image_pe.to(image_embedding.dtype).flatten(2).transpose(1, 2),
            image_index=image_index if same_for_all else None,
        )

        mask_feature = self.output_upscaling(image.transpose(1, 2).unflatten(-1, grid))
        return self.read_masks(
            tokens,
            mask_feature,
            image_embedding=image_embedding,
            image_index=image_index,
            maps=maps,
            multimask=multimask,
        )

    def own_tokens(self) -> Tensor:
        """The tokens before those of the prompts, `[T, C]`: that of the quality, then those of the masks."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight[: len(self.output_hypernetworks_mlps)]])

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
        """Masks and quality from what the transformer returned; the rest is as for `forward`.

        Args:
            tokens: `[N, T + S, C]`, first those of `own_tokens`.
            mask_feature: `[N, C / 8, 4h, 4w]`.
            image_embedding: `[B, C, h, w]`, for decoders that look at it again.
            image_index: `[N]`.
            maps: Maps of the backbone.
            multimask: Whether three masks are wanted.
        """
        wanted = range(1, MASK_TOKENS) if multimask else range(1)
        mask_weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in wanted], dim=1)
        if self.refine is None:
            logits = channel_product(mask_weights, mask_feature)
        else:
            logits = self.refine(mask_weights, mask_feature, maps=maps, image_index=image_index)
        quality = self.iou_prediction_head(tokens[:, 0])
        return logits, quality[:, wanted.start : wanted.stop]
