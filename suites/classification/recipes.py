"""Training recipes of the suite `classification`: the published one for 120 and 300 epochs, and one for minutes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..training.recipe_values import recipe_dict, require
from ..training.recipes import Optimisation, Precision

Interpolation = Literal["bicubic", "bilinear", "nearest"]

_POLICY = re.compile(r"(rand|augmix|original|originalr|v0|v0r|3a)(-[a-z]+\d+(\.\d+)?)*")


@dataclass(frozen=True)
class Augmentation:
    """How a training image is drawn, in timm's terms.

    Attributes:
        crop_area: Range of the cropped share of the image.
        crop_ratio: Range of the crop's width over height.
        flip: Probability of a horizontal flip.
        policy: timm's name of an augmentation policy, for example `rand-m9-mstd0.5-inc1`; empty for none.
        colour: Strength of brightness, contrast and saturation jitter where there is no policy; 0 for none.
        erase: Probability that a rectangle is erased.
        erase_mode: Filled with zeros (`const`), one random colour (`rand`) or a random colour a pixel (`pixel`).
    """

    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    flip: float = 0.5
    policy: str = "rand-m9-mstd0.5-inc1"
    colour: float = 0.0
    erase: float = 0.25
    erase_mode: Literal["const", "rand", "pixel"] = "pixel"

    def __post_init__(self) -> None:
        low, high = self.crop_area
        require(0 < low <= high <= 1, "crop_area", list(self.crop_area), "two rising numbers above 0, up to 1")
        low, high = self.crop_ratio
        require(0 < low <= high, "crop_ratio", list(self.crop_ratio), "two rising numbers above 0")
        require(0 <= self.flip <= 1, "flip", self.flip, "between 0 and 1")
        known = not self.policy or _POLICY.fullmatch(self.policy) is not None
        require(known, "policy", self.policy, "a policy as timm names it, for example rand-m9-mstd0.5-inc1, or nothing")
        require(0 <= self.colour < 1, "colour", self.colour, "0 to below 1")
        require(0 <= self.erase <= 1, "erase", self.erase, "between 0 and 1")


@dataclass(frozen=True)
class Mixing:
    """Mixup and CutMix of a step's images, one draw a step, as timm's `Mixup` in its mode `batch`.

    Attributes:
        mixup: Alpha of mixup's share; 0 for none.
        cutmix: Alpha of CutMix's area; 0 for none.
        probability: Share of the steps that are mixed.
        switch: Share of these that take CutMix, where both are on.
    """

    mixup: float = 0.8
    cutmix: float = 1.0
    probability: float = 1.0
    switch: float = 0.5

    def __post_init__(self) -> None:
        require(self.mixup >= 0, "mixup", self.mixup, "0 or more")
        require(self.cutmix >= 0, "cutmix", self.cutmix, "0 or more")
        require(0 <= self.probability <= 1, "probability", self.probability, "between 0 and 1")
        require(0 <= self.switch <= 1, "switch", self.switch, "between 0 and 1")

    @property
    def on(self) -> bool:
        """Whether any step is mixed."""
        return self.probability > 0 and (self.mixup > 0 or self.cutmix > 0)


@dataclass(frozen=True)
class ClassificationRecipe:
    """Everything that decides a training run but data, backbone and seed.

    Attributes:
        name: Where it comes from: `demo`, `paper`, `paper-300` or a file's stem.
        size: Side of the square input in training, in pixels.
        eval_size: Side of the square input in evaluation.
        precision: `bf16` autocast, `fp32`, or `auto`: bf16 where the device has it in hardware.
        epochs: Times that every image is shown; counts where `train.steps` is 0.
        warmup_epochs: Epochs of linear warm-up; counts likewise.
        train: The optimiser. `steps` above 0 go before `epochs`.
        label_smoothing: Share of a label that is spread over all classes.
        drop_path: Stochastic depth of the last block, or None for the published rate of each backbone.
        layer_scale: Initial residual scale of backbones that have one, or None for the architecture's own.
        augmentation: How images are drawn.
        mixing: How a step's images are mixed.
    """

    name: str
    size: int
    eval_size: int
    precision: Precision
    epochs: float
    warmup_epochs: float
    train: Optimisation
    label_smoothing: float = 0.1
    drop_path: float | None = None
    layer_scale: float | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)

    def __post_init__(self) -> None:
        for name in ("size", "eval_size"):
            value = getattr(self, name)
            require(value >= 16, name, value, "16 or more")
        require(self.precision in ("auto", "bf16", "fp32"), "precision", self.precision, "auto, bf16 or fp32")
        require(self.epochs >= 0, "epochs", self.epochs, "0 or more")
        require(self.epochs > 0 or self.train.steps > 0, "epochs", self.epochs, "above 0, or train.steps above 0")
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "0 or more")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "0 to below 1")
        drop = self.drop_path
        require(drop is None or 0 <= drop < 1, "drop_path", drop, "0 to below 1, or none")
        even = not self.mixing.on or self.train.images % 2 == 0
        require(even, "train.images", self.train.images, "an even number, because mixing takes images in pairs")

    def optimisation(self, images: int) -> Optimisation:
        """The optimiser's steps over a training set of so many images."""
        if self.train.steps:
            return self.train
        step = self.train.images
        steps = math.ceil(self.epochs * images / step)
        return replace(self.train, steps=steps, warmup_steps=round(self.warmup_epochs * images / step))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return recipe_dict(self)


# Vision-RWKV's and Swin's ImageNet training, which the paper follows; 120 epochs are the paper's, 300 its references'.
PAPER = ClassificationRecipe(
    name="paper",
    size=224,
    eval_size=224,
    precision="auto",
    epochs=120,
    warmup_epochs=10,
    train=Optimisation(
        steps=0,
        max_minutes=None,
        images=1024,
        lr=1e-3,
        lr_end=0.01,
        warmup_steps=0,
        weight_decay=0.05,
        clip_norm=5.0,
        images_per_pass=128,
    ),
)
PAPER_300 = replace(PAPER, name="paper-300", epochs=300, warmup_epochs=20)

DEMO = ClassificationRecipe(
    name="demo",
    size=64,
    eval_size=64,
    precision="auto",
    epochs=0,
    warmup_epochs=0,
    train=Optimisation(
        steps=500, max_minutes=1.75, images=32, lr=1e-3, lr_end=0.01, warmup_steps=20, weight_decay=0.05, clip_norm=1.0
    ),
    drop_path=0.0,
    layer_scale=0.3,
    augmentation=Augmentation(crop_area=(0.4, 1.0), policy="", colour=0.1, erase=0.0),
    mixing=Mixing(mixup=0.0, cutmix=0.0),
)

RECIPES = {recipe.name: recipe for recipe in (DEMO, PAPER, PAPER_300)}
