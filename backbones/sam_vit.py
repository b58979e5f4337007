"""SAM's image encoders: ViT with attention in windows, a few global blocks, and decomposed relative positions.

Source: Kirillov et al., "Segment Anything" (arXiv 2304.02643); Li et al., "Exploring Plain Vision Transformer
Backbones for Object Detection" (arXiv 2203.16527) for the windows. Parameter names are the official ones, but for
the MLPs', which are timm's. SAM's neck is not in it: it belongs to the head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import AttentionKind, MultiHead
from .base import Backbone, FeatureInfo, Features
from .layers import Grid, MixerBlock, PatchEmbed, drop_path_rates, init_linear_, to_map, to_tokens
from .position import resize_position_embedding, resize_relative_table
from .windows import from_windows, to_windows

# Entries of the relative-position bias that one call of the fused attention gets. On the CPU one head of 4096 tokens:
# a bias that stays in the cache costs next to nothing. On a GPU few large calls count: 16 heads, 512 MiB in bf16.
BIAS_ENTRIES = {"cpu": 1 << 24, "cuda": 1 << 28}
TRANSFORMERS = "vision_encoder."
# The original calls the layers of the MLPs otherwise, transformers' SamModel half of the rest.
NAMES = (
    (r"\.mlp\.lin([12])\.", r".mlp.fc\1."),
    (r"^layers\.", "blocks."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
)


class RelativeAttention(MultiHead):
    """Softmax attention with decomposed relative positions, in windows or over all tokens.

    The bias of query q at (y, x) for the key at (y', x') is `q . rel_pos_h[y - y'] + q . rel_pos_w[x - x']`, with q as
    it is before the scaling by `1 / sqrt(d)`.

    Args:
        dim: Token width.
        heads: Attention heads.
        positions: Side of the token grid that the tables are for; interpolated for others.
        window: Side of the windows in tokens, or 0 for attention over the whole grid. A grid that is no multiple of
            it is padded below and right with zero tokens, which take part in the attention like any other.
        attention: `sdpa` uses PyTorch's fused attention; `eager` writes it out.
    """

    def __init__(
        self, dim: int, heads: int, *, positions: int, window: int = 0, attention: AttentionKind = "sdpa"
    ) -> None:
        super().__init__(dim, heads)
        self.window = window
        self.attention: AttentionKind = attention
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * positions - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * positions - 1, dim // heads))

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """`x: [B, N, C] -> [B, N, C]`, the tokens of a grid in row-major order."""
        if not self.window:
            return super().forward(x, grid)
        windows = super().forward(to_windows(x, grid, self.window), (self.window, self.window))
        return from_windows(windows, grid, self.window)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Softmax over all tokens of a grid; some heads at a time, so that their bias stays small."""
        tables = relative_vectors(self.rel_pos_h, grid[0]), relative_vectors(self.rel_pos_w, grid[1])
        if self.attention == "eager":
            weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [B, heads, N, N]
            return (weights + relative_bias(q, grid, *tables)).softmax(dim=-1) @ v
        allowed = BIAS_ENTRIES.get(q.device.type, BIAS_ENTRIES["cpu"])
        some = max(1, allowed // (q.shape[0] * q.shape[2] ** 2))
        done = [
            F.scaled_dot_product_attention(some_q, some_k, some_v, attn_mask=relative_bias(some_q, grid, *tables))
            for some_q, some_k, some_v in zip(*(x.split(some, dim=1) for x in (q, k, v)), strict=True)
        ]
        return done[0] if len(done) == 1 else torch.cat(done, dim=1)


def relative_vectors(table: Tensor, size: int) -> Tensor:
    """Vectors `[size, size, d]` of a query's place (first axis) and a key's, from a table `[2 * size - 1, d]`.

    A table of another length is interpolated linearly.
    """
    table = resize_relative_table(table, 2 * size - 1)
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None, :] + size - 1]


def relative_bias(q: Tensor, grid: Grid, down: Tensor, across: Tensor) -> Tensor:
    """Bias `[B, heads, N, N]` of queries `[B, heads, N, d]` on a grid, from `relative_vectors` of both axes."""
    placed = q.unflatten(2, grid)  # [B, heads, H, W, d]
    by_row = torch.einsum("bnywd,ykd->bnywk", placed, down)
    by_column = torch.einsum("bnyxd,xkd->bnyxk", placed, across)
    return (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).flatten(4).flatten(2, 3)


class SamVit(Backbone):
    """SAM's image encoder before the neck; one map at stride 16.

    Args:
        dim: Token width.
        depth: Blocks.
        heads: Attention heads.
        global_blocks: Blocks whose attention sees the whole grid, by index.
        window: Side of the windows of the other blocks, in tokens.
        patch: Patch size in pixels.
        position_grid: Side of the token grid that position embedding and tables are for; resized for others.
        early: Also return the map after the first global block, before the other, as HQ-SAM reads it.
        attention: `sdpa` uses PyTorch's fused attention; `eager` writes it out, as the original does.
        drop_path: Stochastic depth of the last block, growing linearly from 0.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        heads: int,
        global_blocks: Sequence[int],
        window: int = 14,
        patch: int = 16,
        position_grid: int = 64,
        early: bool = False,
        attention: AttentionKind = "sdpa",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(dim, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, position_grid, position_grid, dim))
        self.blocks = nn.ModuleList(
            MixerBlock(
                dim,
                RelativeAttention(
                    dim,
                    heads,
                    positions=position_grid if i in global_blocks else window,
                    window=0 if i in global_blocks else window,
                    attention=attention,
                ),
                drop_path=rate,
            )
            for i, rate in enumerate(drop_path_rates(drop_path, depth))
        )
        self.early_index = min(global_blocks) if early else None
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(init_linear_)
        self.feature_info = (FeatureInfo(dim, patch),) * (2 if early else 1)
        self.pooled_channels = dim
        self.image_multiple = patch

    def no_weight_decay(self) -> set[str]:
        """Parameters that are kept from weight decay, as in ViTDet."""
        return {"pos_embed"}

    def forward(self, images: Tensor) -> Features:
        """`images: [B, 3, H, W]`, sides multiples of the patch size; `pooled` is the mean of the last map."""
        self.check_images(images)
        x = self.patch_embed(images)
        grid = (x.shape[2], x.shape[3])
        x = to_tokens(x) + resize_position_embedding(self.pos_embed.flatten(1, 2), grid)
        maps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = self.run_block(block, x, grid)
            if index == self.early_index:
                maps.append(to_map(x, grid))
        maps.append(to_map(x, grid))
        return Features(tuple(maps), x.mean(dim=1))

    def convert_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the original's names, transformers' or timm's; SAM's neck is left to the head, timm's classifier out."""
        part = {key: value for key, value in state.items() if key.startswith(TRANSFORMERS)} or state
        named = {_own_name(key.removeprefix(TRANSFORMERS)): value for key, value in part.items()}
        return {key: value for key, value in named.items() if not key.startswith(("neck.", "head."))}


def _own_name(key: str) -> str:
    for pattern, replacement in NAMES:
        key = re.sub(pattern, replacement, key)
    return key
