"""How a training is run, as against what it computes, which recipes say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ...errors import UsageError

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True)
class EngineOptions:
    """Options of the training loop.

    Attributes:
        resume: Go on from the newest checkpoint; else remove those that are there, and begin with the first step.
        keep: Newest checkpoints that are kept.
        compile: Run the training step through `torch.compile`; sums may round differently then.
        sync_batch_norm: With several processes, batch norms see the images of all of them.
    """

    resume: bool = True
    keep: int = 1
    compile: bool = False
    sync_batch_norm: bool = True

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UsageError(f"--keep is {self.keep}; expected 1 or more checkpoints")


DEFAULT = EngineOptions()


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy's and torch's generators do not take.

    Raises:
        UsageError: It is negative or too large.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed is {seed}; expected 0 or more, below 2**63")


def resumed(options: OptionsT, resume: bool) -> OptionsT:
    """A suite's options, whose `engine` goes on from checkpoints only with `resume`."""
    given: Any = options
    changed: OptionsT = replace(given, engine=replace(given.engine, resume=resume))
    return changed
