"""What a distillation is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import UsageError
from ...heads.sam.systems import system_spec
from ...heads.sam.weights import DEMO as DEMO_WEIGHTS
from ...heads.sam.weights import DEMO_SYSTEM, demo_systems
from ..training.options import DEFAULT, EngineOptions, check_seed
from ..training.recipes import DEMO, Recipe

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class DistillOptions:
    """Options of the suite; paths and devices included, so this is more than what decides a row.

    Attributes:
        student: System whose backbone and neck are trained.
        student_weights: Checkpoint that its backbone starts from, for example a classifier's; None for random ones.
        teacher: System that is learned from.
        teacher_weights: `demo`, `official`, `official:<tag>` or a checkpoint's path; None for demo weights where there
            are some, else the official ones.
        data: `demo`, a registered set, or a folder of images (of `sa_XXXXXX` folders, too).
        data_root: Where registered sets are looked for.
        recipe: Its `distill` stage, frame, precision and layer scale.
        cached: Compute the embeddings once, before the training, and keep them.
        dtype: Of the kept embeddings.
        embeddings: Folder of the kept embeddings; None for one in the cache named by all that decides them.
        seed: Seed of initialisation, order and stochastic depth.
        limit: Only the first images; None for all.
        max_bad: Unreadable images that are tolerated; they are listed and left out.
        device: Torch device.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data, checkpoints, embeddings and the trained weights.
        engine: How the training loop is run.
    """

    student: str = DEMO_SYSTEM
    student_weights: Path | None = None
    teacher: str = DEMO_SYSTEM
    teacher_weights: str | None = None
    data: str = "demo"
    data_root: Path | None = None
    recipe: Recipe = DEMO
    cached: bool = False
    dtype: Precision = "fp32"
    embeddings: Path | None = None
    seed: int = 0
    limit: int | None = None
    max_bad: int = 0
    device: str = "cpu"
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))
    engine: EngineOptions = DEFAULT

    def __post_init__(self) -> None:
        student, teacher = system_spec(self.student), system_spec(self.teacher)
        if student.preprocessing.geometry != teacher.preprocessing.geometry:
            raise UsageError(
                f"{self.student} frames images by '{student.preprocessing.geometry}', the teacher {self.teacher} by "
                f"'{teacher.preprocessing.geometry}': their embeddings do not lie on the same pixels; choose another"
            )
        if not self.recipe.distill.steps:
            raise UsageError(f"recipe {self.recipe.name} has no distillation; use --set distill.steps=400, for example")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        check_seed(self.seed)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more")
        if not self.cached and (self.dtype != "fp32" or self.embeddings is not None):
            raise UsageError("--fp16 and --embeddings are about kept embeddings; give --cache-embeddings too")

    @property
    def weights(self) -> str:
        """The teacher's weights, the default resolved."""
        return self.teacher_weights or (DEMO_WEIGHTS if self.teacher in demo_systems() else "official")
