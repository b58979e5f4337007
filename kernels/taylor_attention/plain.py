"""Taylor linear attention as matrix products over packed features: two for the whole image, or chunk by chunk."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 128


def taylor_features(x: Tensor) -> Tensor:
    """Features `[..., 1 + E + E * (E + 1) / 2]` of `[..., E]`: dot products of two are `1 + s + s**2 / 2`.

    There `s = x.y / sqrt(E)`. Each mixed product is there once: 153 dimensions for E = 16, where the outer product
    would take 273.
    """
    width = x.shape[-1]
    first, second = torch.triu_indices(width, width, device=x.device)
    # Indices are sorted by the first, so the pairs of each are neighbours.
    factors = ((first == second).to(x.dtype) + 1).mul(width).rsqrt()
    pairs = x[..., first] * x[..., second] * factors
    return torch.cat((torch.ones_like(x[..., :1]), x * width**-0.25, pairs), dim=-1)


def _causal(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Sums of the values up to each token: within a chunk by weights of pairs, before it by features."""
    tokens = q.shape[2]
    padding = (0, 0, 0, -tokens % CHUNK)
    q, k, values = (F.pad(x, padding).unflatten(2, (-1, CHUNK)) for x in (q, k, values))
    scores = q @ k.mT * q.shape[-1] ** -0.5
    near = (1 + scores + scores.square() / 2).tril() @ values
    states = taylor_features(k).mT @ values
    # Padded first, cut then: torch 2.6 compiles no padding of nothing, which the states before a single chunk are.
    before = F.pad(states, (0, 0, 0, 0, 1, 0))[:, :, :-1].cumsum(2)
    return (near + taylor_features(q) @ before).flatten(2, 3)[:, :, :tokens]


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, eps: float) -> Tensor:
    """Features and sums in float32 or better, outside autocast: sums over thousands of squares need it."""
    dtype = torch.promote_types(v.dtype, torch.float32)
    # There is no autocast on the meta device, where operations are counted.
    device = "cpu" if q.is_meta else q.device.type
    with torch.autocast(device, enabled=False):
        q, k, wide = (x.to(dtype) for x in (q, k, v))
        values = torch.cat((wide, torch.ones_like(wide[..., :1])), dim=-1)
        sums = _causal(q, k, values) if causal else taylor_features(q) @ (taylor_features(k).mT @ values)
        return (sums[..., :-1] / (sums[..., -1:] + eps)).to(v.dtype)
