"""Training recipes as validated data: the published values, and values scaled to minutes on two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from ...errors import UsageError
from .recipe_loading import RecipeT, load_from
from .recipe_values import LATER, recipe_dict, require

Precision = Literal["auto", "bf16", "fp32"]
Schedule = Literal["cosine", "poly"]


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up and a decaying rate.

    Attributes:
        steps: Optimiser steps; 0 leaves the stage out.
        max_minutes: Wall-clock limit, or None. The schedule follows whichever is further, steps or minutes,
            so that a slow machine ends its schedule too; the row says how many steps were done.
        images: Images in a step, of all processes together.
        lr: Peak learning rate.
        lr_end: Last learning rate as a fraction of the peak.
        warmup_steps: Steps of linear warm-up.
        weight_decay: On weights with two or more dimensions; norms, biases and other vectors have none.
        clip_norm: Largest gradient norm, or None.
        betas: AdamW's averaging coefficients.
        schedule: From the peak to `lr_end` along half a `cosine`, or in a straight line (`poly`, power 1).
        ema: Decay of the moving average of the weights, which is what is evaluated and saved, or None for none.
        images_per_pass: Images that a process takes through the network at once; gradients are accumulated until
            `images` are seen. None for its whole share. Losses are averaged over passes and processes.
    """

    steps: int
    max_minutes: float | None
    images: int
    lr: float
    lr_end: float
    warmup_steps: int
    weight_decay: float
    clip_norm: float | None
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = field(default="cosine", metadata=LATER)
    ema: float | None = field(default=None, metadata=LATER)
    images_per_pass: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "0 or more")
        require(self.max_minutes is None or self.max_minutes > 0, "max_minutes", self.max_minutes, "above 0, or none")
        require(self.images >= 1, "images", self.images, "1 or more")
        require(self.lr > 0, "lr", self.lr, "above 0")
        require(0 <= self.lr_end <= 1, "lr_end", self.lr_end, "between 0 and 1")
        require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "0 or more")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or none")
        require(all(0 <= beta < 1 for beta in self.betas), "betas", list(self.betas), "two numbers from 0 to below 1")
        require(self.schedule in ("cosine", "poly"), "schedule", self.schedule, "cosine or poly")
        require(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "between 0 and 1, or none")
        passed = self.images_per_pass
        require(
            passed is None or (passed >= 1 and self.images % passed == 0),
            "images_per_pass",
            passed,
            f"a divisor of images={self.images}, or none",
        )

    def share(self, processes: int) -> int:
        """Images of a step that each of so many processes takes.

        Raises:
            UsageError: They cannot be shared equally, in passes of `images_per_pass`.
        """
        if self.images % (processes * (self.images_per_pass or 1)):
            passes = f" in passes of {self.images_per_pass}" if self.images_per_pass is not None else ""
            raise UsageError(
                f"{self.images} images a step cannot be shared equally by {processes} processes{passes}; start a "
                "number of processes that divides them, or change --set ...images=... or ...images_per_pass=..."
            )
        return self.images // processes

    def passes(self, processes: int) -> int:
        """Passes in which each of so many processes takes its share; raises as `share`."""
        share = self.share(processes)
        return share // (self.images_per_pass or share)


@dataclass(frozen=True)
class MaskLoss:
    """Point-sampled BCE and Dice."""

    bce_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def __post_init__(self) -> None:
        require(self.points >= 1, "points", self.points, "1 or more")
        require(self.oversample >= 1, "oversample", self.oversample, "1 or more")
        require(0 <= self.importance <= 1, "importance", self.importance, "between 0 and 1")


@dataclass(frozen=True)
class Augmentation:
    """How a training sample is drawn.

    Attributes:
        flip: Probability of a horizontal flip.
        resize: Range of the large-scale jitter: the longest side becomes this fraction of the frame.
        colour: Strength of brightness, contrast and saturation jitter; 0 for none.
        min_area: Smallest mask kept after cropping, in pixels of the frame.
    """

    flip: float = 0.5
    resize: tuple[float, float] = (0.1, 2.0)
    colour: float = 0.0
    min_area: int = 32

    def __post_init__(self) -> None:
        require(0 <= self.flip <= 1, "flip", self.flip, "between 0 and 1")
        low, high = self.resize
        require(0 < low <= high, "resize", list(self.resize), "two rising numbers above 0")
        require(self.colour >= 0, "colour", self.colour, "0 or more")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but data, backbone and seed.

    Attributes:
        name: Where it comes from: `demo`, `paper` or a file's stem.
        frame: Side of the square input in pixels, in training.
        eval_frame: Side of the square input in evaluation.
        instances: Most instances of one image in a step; all share one backbone pass.
        precision: `bf16` autocast, `fp32`, or `auto`: bf16 where the device has it in hardware.
        layer_scale: Initial residual scale of backbones that have one, or None for the architecture's own.
        train_prompt_encoder: Whether the prompt encoder is trained in the joint stage.
        distill: Stage 1, mean squared error to a teacher's embedding.
        joint: Stage 2, mask losses.
        loss: Loss of the joint stage.
        augmentation: How samples of the joint stage are drawn; the distillation stage only scales images to the frame
            unless `augment_distill` says otherwise.
        augment_distill: Draw the distillation stage's images as the joint stage's.
        mix: Published mix of training sets (`suites/data/mixes.py`) that real data must hold, drawn as it says; empty
            to train on those of RWKV-SAM's sets that are there, drawn by `augmentation`.
    """

    name: str
    frame: int
    eval_frame: int
    instances: int
    precision: Precision
    layer_scale: float | None
    train_prompt_encoder: bool
    augment_distill: bool
    distill: Optimisation
    joint: Optimisation
    loss: MaskLoss = field(default_factory=MaskLoss)
    augmentation: Augmentation = field(default_factory=Augmentation)
    mix: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("frame", "eval_frame"):
            value = getattr(self, name)
            require(value >= 32 and value % 32 == 0, name, value, "a positive multiple of 32")
        require(self.instances >= 1, "instances", self.instances, "1 or more")
        require(self.precision in ("auto", "bf16", "fp32"), "precision", self.precision, "auto, bf16 or fp32")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values; see `recipe_dict`."""
        return recipe_dict(self)


PAPER = Recipe(
    name="paper",
    frame=1024,
    eval_frame=1024,
    instances=20,
    precision="auto",
    layer_scale=None,
    train_prompt_encoder=False,
    augment_distill=False,
    # 24 epochs of 111,860 images and 6 epochs of 481,612, both at batch 32.
    distill=Optimisation(
        steps=83_895,
        max_minutes=None,
        images=32,
        lr=1e-4,
        lr_end=0.01,
        warmup_steps=500,
        weight_decay=0.05,
        clip_norm=5.0,
    ),
    joint=Optimisation(
        steps=90_303,
        max_minutes=None,
        images=32,
        lr=1e-4,
        lr_end=0.01,
        warmup_steps=500,
        weight_decay=0.05,
        clip_norm=5.0,
    ),
    mix="rwkvsam",
)

DEMO = Recipe(
    name="demo",
    frame=192,
    eval_frame=384,
    instances=12,
    precision="auto",
    layer_scale=0.3,
    train_prompt_encoder=True,
    augment_distill=True,
    distill=Optimisation(
        steps=400, max_minutes=1.2, images=8, lr=2e-3, lr_end=0.1, warmup_steps=20, weight_decay=0.02, clip_norm=1.0
    ),
    joint=Optimisation(
        steps=700, max_minutes=6.0, images=4, lr=1e-3, lr_end=0.01, warmup_steps=20, weight_decay=0.02, clip_norm=1.0
    ),
    loss=MaskLoss(points=4096),
    augmentation=Augmentation(resize=(0.7, 1.8), colour=0.2),
)

RECIPES = {recipe.name: recipe for recipe in (DEMO, PAPER)}


@overload
def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe: ...


@overload
def load_recipe(name: str, overrides: Sequence[str], recipes: Mapping[str, RecipeT], prefix: str = "") -> RecipeT: ...


def load_recipe(
    name: str, overrides: Sequence[str] = (), recipes: Mapping[str, Any] = RECIPES, prefix: str = ""
) -> Any:
    """Find a recipe and change values of it.

    Args:
        name: `demo`, `paper`, or the path of a TOML file. A file may name its `base` and give only what differs.
        overrides: `key=value` texts; nested keys with a dot, for example `joint.lr=1e-4`.
        recipes: A suite's recipes by name, frozen dataclasses; those of `sam-hq` without.
        prefix: What the keys of all overrides begin with, where a command has several recipes.

    Raises:
        UsageError: Unknown recipe or key (the nearest is named), or a value of another type or out of range.
    """
    return load_from(recipes, name, overrides, prefix=prefix)
