"""What the ablations are asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..latency import LatencyOptions
from ..sam_hq import SamHqOptions
from ..training.recipes import Recipe
from .recipes import FUSION_DEMO

MASK_SETS = ("dis-vd", "coift", "hrsod")


@dataclass(frozen=True)
class Speed:
    """How speeds are measured.

    Attributes:
        resolution: Image side in pixels.
        dtype: Of weights and activations.
        budget_s: Seconds of timed iterations that one variant may take.
    """

    resolution: int = 1024
    dtype: str = "fp32"
    budget_s: float = 10.0

    def latency_options(self, *, device: str, threads: int | None, kernels: str, **what: Any) -> LatencyOptions:
        """Options of the latency suite for `what`: backbones, or systems and their stage."""
        return LatencyOptions(
            resolutions=(self.resolution,),
            dtypes=(self.dtype,),  # type: ignore[arg-type]
            budget_s=self.budget_s,
            device=device,
            threads=threads,
            kernels=kernels,
            **what,
        )


@dataclass(frozen=True)
class MaskAblationOptions:
    """Options of `ablation-fusion` and `ablation-distill`.

    Attributes:
        backbone: Under the common decoder, in every variant.
        teacher: Where training starts: the `demo` weights, or the path of a checkpoint.
        teacher_system: System of a teacher that is given as a path.
        recipe: How every variant is trained, and at which frame it is evaluated.
        seed: Of initialisation, sampling and losses.
        data: Root of the real data sets; None for the demo data.
        limit: Evaluate only the first images of each set; None for all.
        max_bad: Unreadable images that are tolerated; they are listed and left out.
        workers: Threads that read images and score masks.
        speed: How speeds are measured, where the ablation has them.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads of a timed model; None for the physical cores.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data and checkpoints.
    """

    backbone: str = "rwkvsam-t"
    teacher: str = "demo"
    teacher_system: str = "rwkvsam-t"
    recipe: Recipe = FUSION_DEMO
    seed: int = 0
    data: Path | None = None
    limit: int | None = None
    max_bad: int = 0
    workers: int = 2
    speed: Speed = field(default_factory=Speed)
    device: str = "cpu"
    threads: int | None = None
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))

    def __post_init__(self) -> None:
        if self.teacher == "none":
            raise UsageError(
                "an ablation's variants start with a teacher's decoder; give --teacher demo or a checkpoint's path"
            )
        if not self.recipe.joint.steps:
            raise UsageError(f"recipe {self.recipe.name} has no joint stage; use --set joint.steps=120, for example")

    def sam_hq(self, **changes: Any) -> SamHqOptions:
        """Options of `sam-hq` for one variant."""
        given: Mapping[str, Any] = {
            "backbones": (self.backbone,),
            "teacher": self.teacher,
            "teacher_system": self.teacher_system,
            "recipe": self.recipe,
            "seed": self.seed,
            "data": self.data,
            "datasets": MASK_SETS,
            "limit": self.limit,
            "max_bad": self.max_bad,
            "workers": self.workers,
            "device": self.device,
            "kernels": self.kernels,
            "cache": self.cache,
        }
        return SamHqOptions(**{**given, **changes})
