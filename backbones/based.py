"""BASED's recipe for images: layers of Taylor linear attention (global, coarse) and of windows (local, exact) in turn.

LinBench's own extension. Arora et al., "Simple linear attention language models balance the recall-throughput
tradeoff" (arXiv 2402.18668) publish language models only; here the shape is ViT-S, attention runs both ways and the
sliding window has two dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..kernels import taylor_linear_attention, window_attention
from .attention import MultiHead
from .layers import Grid
from .vit import PlainVit


class TaylorAttention(MultiHead):
    """Linear attention over all tokens with the weights `1 + s + s**2 / 2`, `s = q.k / sqrt(E)`.

    Queries and keys are narrow (E = 16 in BASED: 153 features), and are used as they are projected, as in BASED:
    the `1 / sqrt(E)` keeps s small where softmax's exponential and its Taylor polynomial agree. The operator sums in
    float32 even under autocast, where the sums over keys cannot overflow, so they are not divided by their number.
    """

    def __init__(self, dim: int, heads: int, *, feature_dim: int, kernels: str) -> None:
        super().__init__(dim, heads, qk_width=feature_dim)
        self.kernels = kernels

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Bidirectional; where the tokens stand on the grid does not matter."""
        return taylor_linear_attention(q, k, v, backend=self.kernels)


class WindowAttention(MultiHead):
    """Softmax attention within square windows of the map, which may be shifted by half their side."""

    def __init__(self, dim: int, heads: int, *, window: int, shifted: bool, kernels: str) -> None:
        super().__init__(dim, heads)
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.kernels = kernels

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Tokens see those of their window; windows at the border are as small as the map leaves them."""
        side, shift = self.window, self.shift
        return window_attention(q, k, v, grid, window=(side, side), shift=(shift, shift), backend=self.kernels)


class Based(PlainVit):
    """ViT in which Taylor linear attention and window attention take turns, Taylor first.

    Every second layer of windows is shifted by half a window. There is no class token: the map's mean is pooled.
    Projections have biases, as ViT's have and BASED's have not.

    Args:
        dim: Token width.
        heads: Attention heads of both kinds of layer.
        depth: Blocks.
        patch: Patch size in pixels.
        feature_dim: Width of a head's queries and keys in the Taylor layers.
        window: Side of the windows in tokens.
        position_grid: As for `PlainVit`.
        drop_path: As for `PlainVit`.
        kernels: Backend of the operators.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        depth: int = 12,
        patch: int = 16,
        feature_dim: int = 16,
        window: int = 8,
        position_grid: int = 14,
        drop_path: float = 0.0,
        kernels: str = "auto",
    ) -> None:
        def mixer(layer: int) -> nn.Module:
            if layer % 2 == 0:
                return TaylorAttention(dim, heads, feature_dim=feature_dim, kernels=kernels)
            return WindowAttention(dim, heads, window=window, shifted=layer % 4 == 3, kernels=kernels)

        super().__init__(
            mixer,
            dim=dim,
            depth=depth,
            patch=patch,
            position_grid=position_grid,
            class_token="none",
            final_norm=True,
            drop_path=drop_path,
        )
