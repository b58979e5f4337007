"""What a run of the suite `classification` is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import UsageError
from ..training.options import DEFAULT, EngineOptions, check_seed
from .recipes import DEMO, ClassificationRecipe

Stage = Literal["weights-only", "trained"]


@dataclass(frozen=True)
class ClassificationOptions:
    """Options of the suite; paths and devices included, so this is more than what decides a row.

    Attributes:
        backbones: Registry names, or `timm:<name>` for a timm model with its own head.
        weights: None to train; else weights to evaluate as they are: a checkpoint's path, `official`, or
            `official:<tag>`. The head is the checkpoint's own.
        recipe: How to train, and at which size to evaluate.
        size: Side of the evaluated input in pixels; None for the recipe's (of a timm model with weights, its own).
        seed: Seed of initialisation, order and augmentation.
        data: A folder in ImageNet's layout, or one that holds such a folder; None for the demo data.
        limit: Evaluate only the first images; None for all.
        max_bad: Unreadable images that are tolerated in each split; they are listed and left out.
        batch: Images evaluated together; products round differently in batches, so a row says it.
        workers: Threads that read images for the evaluation, processes that draw them for the training; 0 for neither.
        device: Torch device.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data and checkpoints.
        engine: How the training loop is run.
    """

    backbones: tuple[str, ...] = ()
    weights: str | None = None
    recipe: ClassificationRecipe = DEMO
    size: int | None = None
    seed: int = 0
    data: Path | None = None
    limit: int | None = None
    max_bad: int = 0
    batch: int = 32
    workers: int = 2
    device: str = "cpu"
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))
    engine: EngineOptions = DEFAULT

    def __post_init__(self) -> None:
        if not self.backbones:
            raise UsageError("no backbone given; for example --backbone rwkvsam-t,vit-t")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        if self.batch < 1 or self.workers < 0 or self.max_bad < 0:
            raise UsageError(
                f"--batch {self.batch}, --workers {self.workers}, --max-bad {self.max_bad}; expected at least 1, 0, 0"
            )
        check_seed(self.seed)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more")
        if self.size is not None and self.size < 16:
            raise UsageError(f"--size is {self.size}; expected 16 or more")
