"""How a training is run, as against what it computes, which recipes say."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True)
class EngineOptions:
    """Options of the training loop.

    Attributes:
        keep: Newest checkpoints that are kept.
        compile: Run the training step through `torch.compile`; sums may round differently then.
        sync_batch_norm: With several processes on CUDA, batch norms see the images of all of them. PyTorch has none for
            CPUs: there each process normalises its own share, and the statistics kept are the main process's.
    """

    keep: int = 1
    compile: bool = False
    sync_batch_norm: bool = True

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UsageError(f"--keep is {self.keep}; expected 1 or more checkpoints")


DEFAULT = EngineOptions()
