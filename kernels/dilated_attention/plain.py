"""Dilated attention on `scaled_dot_product_attention`: a head's tokens of a segment are brought together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def _places(tokens: int, segment: int, dilation: int, offsets: Sequence[int], device: torch.device) -> Tensor:
    """`[heads, segments, tokens taken]`: what each head takes from each segment; `tokens` where there is nothing."""
    starts = torch.arange(0, tokens, segment, device=device)[:, None]
    own = torch.tensor([offset % dilation for offset in offsets], device=device)[:, None, None]
    inside = own + torch.arange(0, segment, dilation, device=device)
    places = starts + inside
    return torch.where((inside < segment) & (places < tokens), places, tokens)


def _log_weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Logarithm of each query's softmax denominator, in float32 or better."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(dtype) @ k.to(dtype).mT * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.logsumexp(-1, keepdim=True)


def _branch(
    q: Tensor, k: Tensor, v: Tensor, places: Tensor, scale: float, *, full: bool, weigh: bool
) -> tuple[Tensor, Tensor | None]:
    """One branch: output `[B, heads, N, F]`, zero where a head takes no token; if asked for, log-denominators.

    `full` says that every head takes as many tokens from each segment, so that nothing needs a mask.
    """
    batch, heads, tokens, _ = q.shape
    _, segments, taken = places.shape
    flat = places.flatten(1)[None, :, :, None]

    def gather(x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, 0, 1))
        return padded.take_along_dim(flat, 2).view(batch, heads * segments, taken, x.shape[3])

    def scatter(x: Tensor, fill: float) -> Tensor:
        whole = x.new_full((batch, heads, tokens + 1, x.shape[3]), fill)
        index = flat.expand(batch, -1, -1, x.shape[3])
        return whole.scatter(2, index, x.reshape(batch, heads, segments * taken, x.shape[3]))[:, :, :tokens]

    q, k, v = gather(q), gather(k), gather(v)
    mask = None
    if not full:
        real = (places < tokens).flatten(0, 1)
        mask = real[:, None, :] | ~real[:, :, None]
    out = scatter(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale), 0.0)
    return out, scatter(_log_weights(q, k, mask, scale), -torch.inf) if weigh else None


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    branches: Sequence[tuple[int, int]],
    offsets: Sequence[int],
    scale: float,
) -> Tensor:
    """All branches, mixed by their softmax denominators."""
    results = []
    for segment, dilation in branches:
        length = min(segment, q.shape[2])
        full = q.shape[2] % length == 0 and length % dilation == 0
        places = _places(q.shape[2], length, dilation, offsets, q.device)
        results.append(_branch(q, k, v, places, scale, full=full, weigh=len(branches) > 1))
    if len(results) == 1:
        return results[0][0]
    outputs = torch.stack([out for out, _ in results])
    logs = torch.stack([log for _, log in results if log is not None])
    # A query that no branch takes has zeros in all of them, whatever their weights.
    weights = torch.softmax(torch.where(logs.isinf().all(0), 0.0, logs), dim=0)
    return (weights * outputs).sum(0).to(v.dtype)
