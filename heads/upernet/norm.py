"""Batch norm over the batches of all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...errors import UsageError


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose training statistics are those of all processes together.

    `nn.SyncBatchNorm` does this on GPUs only; here several processes on CPUs train as one would, too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel of `x: [B, C, H, W]`.

        Raises:
            UsageError: In training, all processes together have one value a channel.
        """
        world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if self.training and world * x.numel() // x.shape[1] < 2:
            raise UsageError("batch norm over one image pooled to a single pixel; train with 2 images a step or more")
        if not self.training or world == 1:
            return super().forward(x)
        values = x.float()
        count = world * x.numel() // x.shape[1]
        mean = _summed(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _summed(centred.square().sum((0, 2, 3))) / count
        momentum = self.momentum if self.momentum is not None else 0.1
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * (count / (count - 1)), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def sync_batch_norms(module: nn.Module) -> None:
    """Turn a module's `nn.BatchNorm2d` into `SyncedBatchNorm2d`, in place; parameters and names stay."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SyncedBatchNorm2d


class _Sum(torch.autograd.Function):
    """A sum over processes; each one's output depends on every input, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _summed(mine: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(mine)
    return total
