"""Convolutions over a map in strips of rows, so that what is wide inside them never exists for the whole map."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Below the token stage's own peak at 2048 pixels; smaller strips cost time for the rows computed twice at the cuts.
WIDEST_BYTES = 32 * 2**20


def in_row_strips(
    layer: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    stride: int,
    spoiled: tuple[int, int],
    row_bytes: int,
    widest_bytes: int = WIDEST_BYTES,
) -> Tensor:
    """`layer(x)`; in inference on the CPU computed strip after strip where its widest map would exceed `widest_bytes`.

    A strip carries some rows of its neighbours; what the layer's zero padding at a cut spoils is thrown away. So the
    result is that of the whole map. Whoever needs the graph of the operations (autograd, a compiler, a counter) gets
    them unsplit.

    Args:
        layer: `[B, C, H, W] -> [B, C', ceil(H / stride), W']`, convolutions and what works on single pixels.
        x: `[B, C, H, W]`.
        stride: Vertical stride of the layer.
        spoiled: Rows of its output that depend on rows beyond an upper and beyond a lower cut; a cut lies at a
            multiple of the stride.
        row_bytes: What the widest map inside the layer takes for one row of the output of one image.
        widest_bytes: What that map may take.

    Returns:
        `[B, C', ceil(H / stride), W']`.
    """
    images, height = x.shape[0], -(-x.shape[2] // stride)
    split = images * height * row_bytes > widest_bytes and x.device.type == "cpu" and type(x) is Tensor
    if not split or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return layer(x)
    together = max(1, widest_bytes // (height * row_bytes))
    cuts = -(-height // max(1, widest_bytes // row_bytes))
    bounds = [(height * cut // cuts, height * (cut + 1) // cuts) for cut in range(cuts)]
    above, below = spoiled
    done = []
    for part in x.split(together):
        strips = []
        for first, last in bounds:
            top = max(first - above, 0)
            strip = layer(part[:, :, top * stride : (last + below) * stride])
            strips.append(strip[:, :, first - top : last - top])
        done.append(torch.cat(strips, dim=2))
    return torch.cat(done)
