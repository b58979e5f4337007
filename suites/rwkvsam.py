"""The training of an RWKV-SAM as the paper has it: three stages, each from the weights of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import LinBenchError, UsageError
from ..results.schema import Cell, Row
from ..results.store import Store
from .base import Event, Progress, finished_rows
from .classification import SUITE as CLASSIFICATION
from .classification import ClassificationOptions
from .classification.recipes import DEMO as IMAGENET_DEMO
from .classification.recipes import ClassificationRecipe
from .distill import SUITE as DISTILL
from .distill import DistillOptions
from .sam_hq import SUITE as SAM_HQ
from .sam_hq import SamHqOptions
from .training.checkpoint import weights_file
from .training.options import DEFAULT, EngineOptions
from .training.recipes import DEMO, Recipe

STAGES = ("imagenet", "distill", "joint")
SIZES = ("t", "s", "b")


@dataclass(frozen=True)
class RwkvSamOptions:
    """What to train, and how.

    Attributes:
        size: `t`, `s` or `b`.
        stages: Some of `STAGES` that follow one another: classification of the backbone; distillation of backbone and
            neck from a teacher's embeddings; joint training on masks.
        start: Weights that the first of `stages` starts from: a classifier's for `distill`, a system's for `joint`.
        imagenet: Recipe of the first stage.
        recipe: Recipe of the other two.
        teacher: System that the second stage learns from; None for the demo weights' with the recipe `demo`, else SAM's
            largest, the paper's.
        teacher_weights: See `DistillOptions`.
        data: Root of the real data sets; None for the demo data.
        distill_data: Images of the second stage, see `DistillOptions.data`; None for SA-1B below `data`.
        seed: Seed of every stage.
        limit: Evaluate only the first images of each set; None for all.
        max_bad: Unreadable images that are tolerated in each set.
        workers: Threads and processes that read images.
        device: Torch device.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data, checkpoints and weights.
        engine: How the training loop is run.
    """

    size: str = "t"
    stages: tuple[str, ...] = STAGES
    start: Path | None = None
    imagenet: ClassificationRecipe = IMAGENET_DEMO
    recipe: Recipe = DEMO
    teacher: str | None = None
    teacher_weights: str | None = None
    data: Path | None = None
    distill_data: str | None = None
    seed: int = 0
    limit: int | None = None
    max_bad: int = 0
    workers: int = 2
    device: str = "cpu"
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))
    engine: EngineOptions = DEFAULT

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise UsageError(f"--size '{self.size}' is not known; expected {', '.join(SIZES)}")
        for stage in self.stages:
            if stage not in STAGES:
                raise UsageError(f"--stages: '{stage}' is not known; expected some of {','.join(STAGES)}")
        if not self.stages or ",".join(self.stages) not in ",".join(STAGES):
            raise UsageError(
                f"--stages {','.join(self.stages)}: stages follow one another, as in {','.join(STAGES)}; leave some "
                "out at the ends only, with --start for the weights to begin with"
            )
        if self.start is not None and self.stages[0] == "imagenet":
            raise UsageError("--start gives weights to distill or joint; leave it out where imagenet comes first")

    @property
    def backbone(self) -> str:
        """Name of the backbone, and of the system around it."""
        return f"rwkvsam-{self.size}"


class Planned(NamedTuple):
    """A stage whose beginning is known.

    Attributes:
        stage: Its name.
        suite: The suite that does it.
        options: That suite's options.
        cell: Of the row it leaves.
        weights: The file it leaves.
    """

    stage: str
    suite: Any
    options: Any
    cell: Cell
    weights: Path


class RwkvSam:
    """The stages as one run; see `suites.base.Suite`. Their rows are those of the suites that do them."""

    name = "rwkvsam"
    summary = "an RWKV-SAM trained in the paper's three stages"

    def plan(self, options: RwkvSamOptions) -> list[Cell]:
        """The first stage's cell; those of others depend on the weights before them."""
        return [self.planned(options, options.stages[0], options.start).cell]

    def planned(self, options: RwkvSamOptions, stage: str, start: Path | None) -> Planned:
        """A stage from the weights that it starts with. Draws the demo data where they are needed."""
        suite, own = _BUILDERS[stage](options, start)
        # The baselines of a suite come first, the trained model last.
        cell = suite.plan(own)[-1]
        return Planned(stage, suite, own, cell, weights_file(options.cache, cell.key))

    def listing(self, options: RwkvSamOptions, store: Store) -> list[dict[str, Any]]:
        """Of each stage what is there: its row, its weights, or what it waits for."""
        records: list[dict[str, Any]] = []
        start, missing = options.start, ""
        for stage in options.stages:
            if missing:
                records.append({"stage": stage, "state": f"to do, after {missing}", "row": None, "weights": None})
                continue
            planned = self.planned(options, stage, start)
            row = finished_rows([planned.cell], store).get(planned.cell.key)
            done = row is not None and planned.weights.is_file()
            state = "done" if done else "to do" if row is None else "to do again, its weights are gone"
            weights = str(planned.weights) if planned.weights.is_file() else None
            records.append({"stage": stage, "state": state, "row": planned.cell.key, "weights": weights})
            start, missing = planned.weights, "" if done else stage
        return records

    def run(
        self, options: RwkvSamOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Do the stages one after the other; one whose row and weights are there is not done again.

        Raises:
            LinBenchError: A stage failed, so that the next has nothing to start from; its row is stored.
        """
        start = options.start
        for number, stage in enumerate(options.stages):
            planned = self.planned(options, stage, start)

            def tell(event: Event, number: int = number, stage: str = stage) -> None:
                if progress is not None:
                    progress(Event(number, len(options.stages), f"{stage}: {event.message}"))

            # A row without its weights is no start for the next stage.
            lost = bool(finished_rows([planned.cell], store)) and not planned.weights.is_file()
            rows = list(planned.suite.run(planned.options, store=store, progress=tell, resume=resume and not lost))
            yield from rows
            if rows[-1].status != "ok":
                raise LinBenchError(
                    f"stage {stage} ended as {rows[-1].status}: {rows[-1].error}; mend it and run again"
                )
            start = planned.weights


SUITE = RwkvSam()


def _imagenet(options: RwkvSamOptions, _: Path | None) -> tuple[Any, Any]:
    return CLASSIFICATION, ClassificationOptions(
        backbones=(options.backbone,),
        recipe=options.imagenet,
        seed=options.seed,
        data=options.data,
        limit=options.limit,
        max_bad=options.max_bad,
        workers=options.workers,
        device=options.device,
        kernels=options.kernels,
        cache=options.cache,
        engine=options.engine,
    )


def _distill(options: RwkvSamOptions, start: Path | None) -> tuple[Any, Any]:
    return DISTILL, DistillOptions(
        student=options.backbone,
        student_weights=start,
        teacher=options.teacher or ("rwkvsam-t" if options.recipe.name == DEMO.name else "sam-vit-h"),
        teacher_weights=options.teacher_weights,
        data=options.distill_data or ("demo" if options.data is None else "sa-1b"),
        data_root=options.data,
        recipe=options.recipe,
        seed=options.seed,
        max_bad=options.max_bad,
        device=options.device,
        kernels=options.kernels,
        cache=options.cache,
        engine=options.engine,
    )


def _joint(options: RwkvSamOptions, start: Path | None) -> tuple[Any, Any]:
    return SAM_HQ, SamHqOptions(
        backbones=(options.backbone,),
        # Weights of the same system are what its training starts from; there is nothing to distill then.
        teacher="none" if start is None else str(start),
        teacher_system=options.backbone,
        recipe=options.recipe,
        seed=options.seed,
        data=options.data,
        limit=options.limit,
        max_bad=options.max_bad,
        workers=options.workers,
        device=options.device,
        kernels=options.kernels,
        cache=options.cache,
        engine=options.engine,
    )


_BUILDERS = {"imagenet": _imagenet, "distill": _distill, "joint": _joint}
