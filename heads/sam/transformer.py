"""SAM's two-way transformer between prompt tokens and image tokens (segment-anything).

Prompts of one image start from the same image tokens. Until the first image-to-token update makes them differ,
whatever is computed from image tokens is computed once per image: `image_index` says which image a prompt is of.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Activation


def per_prompt(x: Tensor, image_index: Tensor | None) -> Tensor:
    """Repeat per-image rows for the prompts of each image.

    Args:
        x: `[B, ...]`, a row per image.
        image_index: `[N]`, the image of each prompt, or None where the rows are per prompt already.

    Returns:
        `[N, ...]`; a view without a copy for a single image.
    """
    if image_index is None:
        return x
    if len(x) == 1:
        return x.expand(len(image_index), *x.shape[1:])
    out: Tensor = _Rows.apply(x, image_index)
    return out


class _Rows(torch.autograd.Function):
    """`x[index]` along the first axis; the gradient is one matrix product, where PyTorch's scatter is far slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(x)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        selected = F.one_hot(index, ctx.rows).to(grad.dtype).T
        # Channels-last memory is kept: the flat view must not copy.
        axes = (0, 2, 3, 1) if grad.ndim == 4 else tuple(range(grad.ndim))
        flat = grad.permute(axes)
        total = (selected @ flat.flatten(1)).unflatten(1, flat.shape[1:])
        return total.permute(0, 3, 1, 2) if grad.ndim == 4 and axes[1] == 2 else total, None


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of `[N, heads, T, d]` tensors.

    In training on the CPU it is written out: with a handful of tokens on one side, the backward pass of PyTorch's
    fused attention takes about five times as long.
    """
    if q.device.type == "cpu" and torch.is_grad_enabled():
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens'.

    Args:
        dim: Token width.
        heads: Number of heads.
        downsample: Inner width is `dim / downsample`.
    """

    def __init__(self, *, dim: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = dim // downsample
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        query_index: Tensor | None = None,
        key_index: Tensor | None = None,
    ) -> Tensor:
        """Attend from `query: [N, Tq, C]` to `key, value: [N, Tk, C]`.

        Where an index `[N]` is given, that side has a row per image; it is projected before it is repeated.
        """
        q = per_prompt(self._split(self.q_proj(query)), query_index)
        k = per_prompt(self._split(self.k_proj(key)), key_index)
        v = per_prompt(self._split(self.v_proj(value)), key_index)
        out = attend(q, k, v)
        projected: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return projected

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads).transpose(1, 2)  # [N, heads, T, d]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, *, dim: int, hidden_dim: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin2(self.activation(self.lin1(x)))
        return out


class TwoWayBlock(nn.Module):
    """Tokens attend to tokens, then to the image, pass an MLP, and the image attends to them; post-norm.

    Args:
        dim: Token width.
        heads: Number of heads.
        mlp_dim: Hidden width of the MLP.
        first: In the first block self-attention sees no position encoding and replaces the tokens (no residual).
        activation: Of the MLP.
    """

    def __init__(self, *, dim: int, heads: int, mlp_dim: int, first: bool, activation: Activation = F.relu) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim=dim, heads=heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim=dim, heads=heads, downsample=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim=dim, hidden_dim=mlp_dim, activation=activation)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim=dim, heads=heads, downsample=2)

    def forward(
        self, tokens: Tensor, image: Tensor, *, token_pe: Tensor, image_pe: Tensor, image_index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Update `tokens: [N, T, C]` and `image: [B or N, L, C]`; both results have a row per prompt."""
        tokens = self.norm1(self.attend_to_tokens(tokens, token_pe))

        placed_image = image + image_pe
        attended = self.cross_attn_token_to_image(tokens + token_pe, placed_image, image, key_index=image_index)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))

        update = self.cross_attn_image_to_token(placed_image, tokens + token_pe, tokens, query_index=image_index)
        return tokens, self.norm4(per_prompt(image, image_index) + update)

    def attend_to_tokens(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Self-attention of `tokens: [N, T, C]` with its residual, before the norm."""
        if self.first:
            return self.self_attn(tokens, tokens, tokens)
        placed = tokens + token_pe
        return tokens + self.self_attn(placed, placed, tokens)


class EfficientTwoWayBlock(TwoWayBlock):
    """EfficientSAM's: every residual is kept, and what attends holds the position encoding from then on."""

    def attend_to_tokens(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Self-attention of `tokens: [N, T, C]` with its residual, before the norm."""
        placed = tokens if self.first else tokens + token_pe
        return placed + self.self_attn(placed, placed, placed)


class TwoWayTransformer(nn.Module):
    """A stack of two-way blocks and a last attention from the tokens to the image.

    Args:
        depth: Number of blocks.
        dim: Token width.
        heads: Number of heads.
        mlp_dim: Hidden width of the MLPs.
        activation: Of the MLPs.
        block: Class of the blocks.
    """

    def __init__(
        self,
        *,
        depth: int,
        dim: int,
        heads: int,
        mlp_dim: int,
        activation: Activation = F.relu,
        block: type[TwoWayBlock] = TwoWayBlock,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            block(dim=dim, heads=heads, mlp_dim=mlp_dim, first=i == 0, activation=activation) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim=dim, heads=heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, image: Tensor, *, image_pe: Tensor, image_index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exchange information between prompts and image.

        Args:
            tokens: `[N, T, C]`; they are also their own position encoding.
            image: `[B, L, C]` with `image_index`, else `[N, L, C]`.
            image_pe: `[1, L, C]`.
            image_index: `[N]`, the image of each prompt.

        Returns:
            Tokens `[N, T, C]` and image tokens `[N, L, C]`, a row per prompt.
        """
        token_pe = tokens
        for block in self.layers:
            tokens, image = block(tokens, image, token_pe=token_pe, image_pe=image_pe, image_index=image_index)
            image_index = None
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image
