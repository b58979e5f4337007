"""The moving average of the weights, which is evaluated and saved instead of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

HeldT = TypeVar("HeldT", bound=nn.Module)


class Held(Generic[HeldT]):
    """A frozen module beside another: no sub-module of it, so neither trained nor saved nor averaged with it.

    Args:
        module: In evaluation mode afterwards, without gradients.
    """

    def __init__(self, module: HeldT) -> None:
        self.module: HeldT = module.eval().requires_grad_(False)

    def __deepcopy__(self, _: object) -> Held[HeldT]:
        """The same one: an average of its owner needs no second copy."""
        return self


class Average:
    """Moving average of a module's parameters and buffers, by timm's `ModelEmaV3` without warm-up.

    Args:
        module: What is trained; copied once.
        decay: Share of the old average that a step keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self._ema = ModelEmaV3(module, decay=decay)

    def update(self, step: int) -> None:
        """Take in the weights after `step` finished steps; the first step's are taken as they are."""
        self._ema.update(self.module, step=step)

    def state(self) -> dict[str, Tensor]:
        """The average, by the module's names."""
        return self._ema.module.state_dict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved average."""
        self._ema.module.load_state_dict(state)

    def apply(self) -> None:
        """Give the module the average for good."""
        self.module.load_state_dict(self.state())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the average inside, and its own weights again afterwards."""
        own = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                self.module.load_state_dict(own)
