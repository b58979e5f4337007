"""The two-dimensional selective scan as its formula says it: pixel by pixel in each direction, in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..cross_scan.reference import scan_order
from .inputs import Inputs, check_rates


def scan(inputs: Inputs) -> Tensor:
    """`[B, D, H, W]` in the dtype of `x`; differentiable by autograd."""
    check_rates(inputs.A)
    x, delta, A, B, C, D, bias, softplus = inputs.to(torch.float64)
    channels, height, width = x.shape[1:]
    u = x.flatten(2)
    y = torch.zeros_like(u)
    for k, order in enumerate(scan_order(height, width).tolist()):
        own = slice(k * channels, (k + 1) * channels)
        step = delta[:, k].flatten(2) if bias is None else delta[:, k].flatten(2) + bias[own, None]
        step = F.softplus(step) if softplus else step
        Bk, Ck = B[:, k].flatten(2), C[:, k].flatten(2)
        state = u.new_zeros(*u.shape[:2], A.shape[1])
        outputs: list[Tensor] = [u] * len(order)
        for p in order:
            state = torch.exp(step[..., p, None] * A[own]) * state + (step * u)[..., p, None] * Bk[:, None, :, p]
            outputs[p] = (state * Ck[:, None, :, p]).sum(-1)
        y = y + torch.stack(outputs, -1)
        if D is not None:
            y = y + D[own, None] * u
    return y.view(x.shape).to(inputs.x.dtype)
