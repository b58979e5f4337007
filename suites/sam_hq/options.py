"""What a run of the suite `sam-hq` is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ...errors import UsageError
from ...heads.sam.choice import MaskChoice, needs_multimask
from ...heads.sam.systems import OFFICIAL
from ..data.coco_boxes import CategoryIds
from ..training.options import DEFAULT, EngineOptions, check_seed
from ..training.pipeline import EncoderStart
from ..training.recipes import DEMO, Recipe

MASK_SETS = ("dis-vd", "coift", "hrsod")
COCO = "coco"
TRUE_BOXES = "truth"
BOX_BASELINE = "baseline:box"
PUBLISHED_FRAME = 1024
"""SAM, HQ-SAM, MobileSAM and EfficientSAM were trained and are evaluated at this size."""

Stage = Literal["baseline", "weights-only", "before", "trained"]


@dataclass(frozen=True)
class SamHqOptions:
    """Options of the suite; paths and devices included, so this is more than what decides a row.

    Attributes:
        backbones: Registry names; each is put under the common SAM decoder.
        systems: Names of whole systems (`sam-vit-b`, `hq-sam-l`, ...), beside the backbones.
        refine: Refine module of the common decoder; `auto` is conv where the backbone has maps of strides 4 and 8.
        weights: None to train; else weights to evaluate as they are: `demo`, or the path of a checkpoint.
        teacher: What the training starts from: `demo` (LinBench's demo weights: distill from them, then train), `none`
            (from scratch), or the path of a checkpoint of the system `teacher_system`.
        teacher_system: System of a teacher that is given as a path.
        encoder: Where the encoder starts when there is a teacher, whose decoder all start with: `distilled` from it in
            stage 1, `copied` from a teacher of the same backbone, `fresh`, or `auto`: the teacher's whole system where
            it is the student's, else distilled.
        share_refine: Take over the teacher's refine module with its decoder, and fit its projected fine maps in stage
            1; else the refine module starts fresh and stage 1 is Equation 8 alone.
        recipe: How to train, and at which frame size to evaluate.
        frame: Frame size of the evaluation; None for that of a published system whose weights are given, else the
            recipe's.
        seed: Seed of initialisation, sampling and losses.
        protocol: `rwkvsam` or `hqsam`; COCO has one way alone.
        choice: Which of SAM's masks is kept; other than `single` is for decoders with four mask tokens, `oracle` for
            mask sets.
        data: Root of the real data sets; None for the demo data.
        datasets: Registered evaluation sets below the data root; None for COCO and the three mask sets of the paper's
            Table 3 on the demo data, and for the mask sets, and COCO where `boxes` says with which boxes, on real ones.
        boxes: Box prompts of COCO: `truth`, or the path of a detector's results file; None for the demo data's own.
        boxes_per_image: Boxes of an image that are used, those of the highest scores; None for all.
        box_categories: How the detector's file counts categories: see `detector_boxes`.
        masks: Folders of the user's own (name, path); they replace the registered sets.
        train_masks: Folders of the user's own to train on; without them, `masks` are split by file name.
        held_out: Share of each folder in `masks` that is kept for evaluation when it is split.
        limit: Evaluate only the first images of each set; None for all.
        max_bad: Unreadable images that are tolerated; they are listed and left out.
        device: Torch device.
        kernels: Backend of LinBench's operators.
        cache: Folder for demo data and checkpoints.
        gallery: Images on the contact sheet; 0 for none.
        batch: Images encoded together in the evaluation; products round differently in batches, so a row says it.
        workers: Threads that read images and score masks beside the network.
        engine: How the training loop is run.
    """

    backbones: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    refine: str = "auto"
    weights: str | None = None
    teacher: str = "demo"
    teacher_system: str = "rwkvsam-t"
    encoder: EncoderStart = "auto"
    share_refine: bool = True
    recipe: Recipe = DEMO
    frame: int | None = None
    seed: int = 0
    protocol: str = "rwkvsam"
    choice: MaskChoice = "single"
    data: Path | None = None
    datasets: tuple[str, ...] | None = None
    boxes: str | None = None
    boxes_per_image: int | None = None
    box_categories: CategoryIds = "dataset"
    masks: tuple[tuple[str, Path], ...] = ()
    train_masks: tuple[tuple[str, Path], ...] = ()
    held_out: float = 0.3
    limit: int | None = None
    max_bad: int = 0
    device: str = "cpu"
    kernels: str = "auto"
    cache: Path = field(default_factory=lambda: Path(".cache"))
    gallery: int = 6
    batch: int = 1
    workers: int = 2
    engine: EngineOptions = DEFAULT

    def __post_init__(self) -> None:
        if not self.backbones and not self.systems:
            raise UsageError("no backbone or system given; for example --backbone rwkvsam-s or --system sam-vit-b")
        if self.datasets is not None and not self.datasets:
            raise UsageError("no data set given; for example --datasets dis-vd,coift,hrsod")
        if self.boxes_per_image is not None and self.boxes_per_image < 1:
            raise UsageError(f"--boxes-per-image is {self.boxes_per_image}; expected 1 or more")
        if self.boxes == TRUE_BOXES and self.boxes_per_image is not None:
            raise UsageError(
                "--boxes-per-image chooses by a detector's scores, which true boxes lack; leave it out, or give "
                "--boxes the path of a detector's results"
            )
        if self.box_categories not in get_args(CategoryIds):
            raise UsageError(f"--box-categories is '{self.box_categories}'; expected dataset or index")
        if (self.boxes is not None or self.boxes_per_image is not None) and not self.scores_coco:
            raise UsageError(
                "--boxes and --boxes-per-image are for COCO, which is not among the sets to evaluate; leave them out, "
                "or name coco in --datasets"
            )
        if needs_multimask(self.choice) and self.choice == "oracle" and self.scores_coco:
            raise UsageError(
                "--choice oracle chooses by the true mask of each prompt, which COCO's boxes do not have; name the "
                "mask sets in --datasets"
            )
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        if self.train_masks and not self.masks:
            raise UsageError("--train-masks needs --masks NAME=FOLDER to evaluate on")
        if self.batch < 1 or self.workers < 0:
            raise UsageError(f"--batch is {self.batch}, --workers is {self.workers}; expected at least 1 and 0")
        check_seed(self.seed)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more")
        if self.frame is not None and (self.frame < 32 or self.frame % 32):
            raise UsageError(f"--frame is {self.frame}; expected a positive multiple of 32")

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        """The registered sets to evaluate on."""
        if self.datasets is not None:
            return tuple(dict.fromkeys(self.datasets))
        return (COCO, *MASK_SETS) if self.data is None or self.boxes is not None else MASK_SETS

    @property
    def scores_coco(self) -> bool:
        """Whether COCO is among the evaluated sets."""
        return not self.masks and COCO in self.evaluation_sets

    @property
    def eval_frame(self) -> int:
        """Side of the square input in evaluation, in pixels."""
        published = (name in OFFICIAL and OFFICIAL[name].head != "common" for name in self.systems)
        trained_elsewhere = self.weights is not None and any(published)
        return self.frame or (PUBLISHED_FRAME if trained_elsewhere else self.recipe.eval_frame)
