"""What a run of the suite `ade20k` is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ..training.options import DEFAULT, EngineOptions, check_seed
from .recipes import DEMO, Inference, SegmentationRecipe

COMMONEST = "baseline:commonest"
RANDOM = "random"


@dataclass(frozen=True)
class Ade20kOptions:
    """Options of the suite; paths and devices included, so this is more than what decides a row.

    Attributes:
        backbones: Registry names; each is put under UperNet.
        weights: None to train; else what to evaluate as it is: the path of a segmenter's checkpoint, or `random` for
            the initial values.
        backbone_weights: What training starts from: None for random values, a checkpoint's path, `official`, or
            `official:<tag>`.
        recipe: How to train, and at which size to evaluate.
        inference: `whole` images or a `slide` window in evaluation; None for the recipe's.
        seed: Seed of initialisation, order and augmentation.
        data: A data root that holds ADE20K, or a folder in ADE20K's or CamVid's layout; None for the demo data.
        classes: Class table; None for the folder's own.
        limit: Evaluate only the first images; None for all.
        max_bad: Items of each split that are tolerated though they cannot be used; they are listed and left out.
        workers: Threads that read and draw images beside the network.
        device: Torch device.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data and checkpoints.
        gallery: Images on the contact sheet; 0 for none.
        engine: How the training loop is run.
    """

    backbones: tuple[str, ...] = ()
    weights: str | None = None
    backbone_weights: str | None = None
    recipe: SegmentationRecipe = DEMO
    inference: Inference | None = None
    seed: int = 0
    data: Path | None = None
    classes: Path | None = None
    limit: int | None = None
    max_bad: int = 0
    workers: int = 2
    device: str = "cpu"
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))
    gallery: int = 6
    engine: EngineOptions = DEFAULT

    def __post_init__(self) -> None:
        if not self.backbones:
            raise UsageError("no backbone given; for example --backbone rwkvsam-t")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        if self.inference not in (None, "whole", "slide"):
            raise UsageError(f"--inference '{self.inference}' is not known; expected whole or slide")
        if self.mode == "slide" and self.recipe.stride > self.recipe.crop:
            raise UsageError(
                f"a window of {self.recipe.crop} pixels leaves gaps at steps of {self.recipe.stride}; set stride to at "
                "most crop, for example --set stride=32"
            )
        if self.weights is not None and self.backbone_weights is not None:
            raise UsageError("--weights hold the backbone too; leave --backbone-weights out")
        if self.classes is not None and self.data is None:
            raise UsageError("--classes needs --data; the demo data have a class table of their own")
        check_seed(self.seed)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more")
        if self.max_bad < 0 or self.workers < 1 or self.gallery < 0:
            raise UsageError(
                f"--max-bad {self.max_bad}, --workers {self.workers}, gallery {self.gallery}; expected at least 0, 1, 0"
            )

    @property
    def mode(self) -> Inference:
        """How images are taken through the network in evaluation."""
        return self.inference or self.recipe.inference
