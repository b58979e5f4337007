"""What every backbone is to the rest of LinBench: a module and its features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UsageError


class Features(NamedTuple):
    """What a backbone returns.

    Attributes:
        maps: Feature maps `[B, C_i, H/s_i, W/s_i]`, fine to coarse; sides that a stride does not divide are rounded up.
        pooled: `[B, C]` for classification, as the original model pools.
    """

    maps: tuple[Tensor, ...]
    pooled: Tensor


class FeatureInfo(NamedTuple):
    """Channels and stride of one feature map."""

    channels: int
    stride: int


class Backbone(nn.Module):
    """Base class: `forward(images: [B, 3, H, W]) -> Features`.

    Attributes:
        feature_info: Channels and stride of each map that `forward` returns, in order.
        pooled_channels: Width of `Features.pooled`.
        image_multiple: Height and width of the images must be multiples of this.
        head_hidden: Width of the Tanh layer in the original classifier's head; 0 where its head is one linear layer.
        gradient_checkpointing: Whether blocks are computed again in backward instead of keeping what is inside them.
    """

    feature_info: tuple[FeatureInfo, ...]
    pooled_channels: int
    image_multiple: int = 16
    head_hidden: int = 0
    gradient_checkpointing: bool = False

    def forward(self, images: Tensor) -> Features:
        """Compute the feature maps of `images: [B, 3, H, W]`, normalised."""
        raise NotImplementedError

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Compute blocks again in backward instead of keeping what is inside them, or keep it."""
        self.gradient_checkpointing = enabled

    def run_block(self, block: Callable[..., Any], *inputs: Any) -> Any:
        """Call a block; under gradient checkpointing its inner activations are not kept."""
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return block(*inputs)
        if torch.compiler.is_compiling():  # a compiled graph updates statistics once, and takes no contexts
            return checkpoint(block, *inputs, use_reentrant=False)
        return checkpoint(
            block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _counted_before(block))
        )

    def check_images(self, images: Tensor) -> None:
        """Raise UsageError unless `images` is floating-point `[B, 3, H, W]` with sides that this backbone can serve."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.shape[0]:
            raise UsageError(f"images have shape {tuple(images.shape)}; expected [B, 3, H, W] with B at least 1")
        if not images.is_floating_point():
            raise UsageError(f"images are {images.dtype}; expected normalised floating-point ones")
        height, width = images.shape[-2:]
        step = self.image_multiple
        if height % step or width % step or not height or not width:
            raise UsageError(
                f"images are {height}x{width}; height and width must be positive multiples of {step} for this backbone"
            )


@contextmanager
def _counted_before(block: Callable[..., Any]) -> Iterator[None]:
    """Keep the running statistics of a block's batch norms as they are while it sees the same batch again."""
    modules = block.modules() if isinstance(block, nn.Module) else ()
    norms = [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
