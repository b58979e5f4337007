"""The suite `ablation-encoder`: RWKV blocks in the encoder's first two stages (Table 6, right)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..classification import SUITE as CLASSIFICATION
from ..classification import ClassificationOptions
from ..classification.recipes import ClassificationRecipe
from ..latency import SUITE as LATENCY
from ..stats import MODEL_STATS, ModelStatsOptions
from .class_recipes import CLASS_DEMO
from .compose import Composite, Part
from .options import Speed

VARIANTS = ("rwkvsam-s", "rwkvsam-s-1-1", "rwkvsam-s-2-2", "rwkvsam-s-3-3")


@dataclass(frozen=True)
class EncoderAblationOptions:
    """Options of `ablation-encoder`.

    Attributes:
        recipe: How every variant is trained and evaluated.
        seed: Of initialisation, sampling and augmentation.
        data: Root of the real data sets; None for the demo data.
        limit: Evaluate only the first images; None for all.
        max_bad: Unreadable images that are tolerated; they are listed and left out.
        workers: Threads and processes that read images.
        speed: How speeds are measured.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads of a timed model; None for the physical cores.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data and checkpoints.
    """

    recipe: ClassificationRecipe = CLASS_DEMO
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


class EncoderAblation(Composite[EncoderAblationOptions]):
    """The four encoders of the paper: parameters, frames per second at one resolution, and top-1 by one recipe."""

    name = "ablation-encoder"
    summary = "RWKV blocks in earlier stages: parameters, FPS of the backbone, top-1 by one recipe (Table 6, right)"

    def parts(self, options: EncoderAblationOptions) -> list[Part]:
        """Counts and latencies of all variants, which take turns; then their trainings."""
        speed = options.speed.latency_options(
            device=options.device, threads=options.threads, kernels=options.kernels, backbones=VARIANTS
        )
        trained: Mapping[str, Any] = {
            name: getattr(options, name)
            for name in ("recipe", "seed", "data", "limit", "max_bad", "workers", "device", "kernels", "cache")
        }
        return [
            Part(MODEL_STATS, ModelStatsOptions(backbones=VARIANTS)),
            Part(LATENCY, speed),
            Part(CLASSIFICATION, ClassificationOptions(backbones=VARIANTS, **trained)),
        ]


SUITE = EncoderAblation()
