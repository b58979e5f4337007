"""A ViT with dilated attention in the manner of SAM-Lightening.

Song et al., "SAM-Lightening" (arXiv 2403.09195), cut the tokens into equal segments, take tokens at a fixed interval
from each, let those attend to one another and put the outputs back. Neither code nor the sizes are published, so the
sizes here are LinBench's, and what they leave open is LongNet's answer (arXiv 2307.02486): heads begin at different
tokens, so that together they take all.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..kernels import dilated_attention
from .attention import MultiHead
from .layers import Grid
from .vit import PlainVit

Branches = Sequence[tuple[int, int]]


class DilatedAttention(MultiHead):
    """Softmax attention among every r-th token of a segment of w, for each (w, r) of `branches`."""

    def __init__(
        self, dim: int, heads: int, *, branches: Branches, offsets: Sequence[int] | None, kernels: str
    ) -> None:
        super().__init__(dim, heads)
        self.branches = tuple((segment, dilation) for segment, dilation in branches)
        self.offsets = None if offsets is None else tuple(offsets)
        self.kernels = kernels

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Segments run over the tokens row by row; a map with fewer tokens than a segment is one segment."""
        return dilated_attention(q, k, v, branches=self.branches, offsets=self.offsets, backend=self.kernels)


class SamLightening(PlainVit):
    """ViT with dilated attention; neither class token nor final norm, as in SAM's encoders.

    Args:
        dim: Token width.
        heads: Attention heads.
        branches: (segment, dilation) pairs, in tokens, of the first layer, of the second, and so on; from the front
            again when they are used up. Several pairs of one layer are mixed as in LongNet.
        depth: Blocks.
        patch: Patch size in pixels.
        offsets: For each head, the first token that it takes of a segment; 0, 1, 2, ... unless given.
        position_grid: As for `PlainVit`.
        drop_path: As for `PlainVit`.
        kernels: Backend of the operator.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        branches: Sequence[Branches],
        depth: int = 12,
        patch: int = 16,
        offsets: Sequence[int] | None = None,
        position_grid: int = 14,
        drop_path: float = 0.0,
        kernels: str = "auto",
    ) -> None:
        super().__init__(
            lambda layer: DilatedAttention(
                dim, heads, branches=branches[layer % len(branches)], offsets=offsets, kernels=kernels
            ),
            dim=dim,
            depth=depth,
            patch=patch,
            position_grid=position_grid,
            class_token="none",
            final_norm=False,
            drop_path=drop_path,
        )
