"""Training recipes of the suite `ade20k`: the published one, and one for minutes on two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..training.recipe_values import recipe_dict, require
from ..training.recipes import Optimisation, Precision

Inference = Literal["whole", "slide"]


@dataclass(frozen=True)
class SegmentationRecipe:
    """Everything that decides a training run but data, backbone and seed.

    Attributes:
        name: Where it comes from: `demo`, `paper` or a file's stem.
        scale: Longest and shortest side in pixels that images are fitted to, in evaluation and before `ratio`.
        ratio: Range of the random resize ratio in training.
        crop: Side of the training crop, and of the sliding window.
        stride: Step of the sliding window in pixels.
        inference: `whole` images or a `slide` window.
        largest_class: Training crops of which one class takes a larger share are drawn again.
        flip: Probability of a horizontal flip.
        distort: Photometric distortion.
        channels: Width of UperNet.
        dropout: Before the classifiers.
        auxiliary: Weight of the auxiliary head's loss; 0 for no such head.
        head_lr_scale: Learning rate of the heads over that of the backbone.
        drop_path: Stochastic depth of the backbone's last block, or None for the backbone's default.
        layer_scale: Initial residual scale of backbones that have one, or None for the architecture's own.
        precision: `bf16` autocast, `fp32`, or `auto`: bf16 where the device has it in hardware.
        train: The optimiser.
    """

    name: str
    scale: tuple[int, int]
    ratio: tuple[float, float]
    crop: int
    stride: int
    inference: Inference
    largest_class: float
    flip: float
    distort: bool
    channels: int
    dropout: float
    auxiliary: float
    head_lr_scale: float
    drop_path: float | None
    layer_scale: float | None
    precision: Precision
    train: Optimisation

    def __post_init__(self) -> None:
        long, short = self.scale
        require(16 <= short <= long, "scale", list(self.scale), "longest and shortest side, both 16 or more")
        low, high = self.ratio
        require(0 < low <= high, "ratio", list(self.ratio), "two rising numbers above 0")
        require(self.crop >= 16, "crop", self.crop, "16 or more")
        require(self.stride >= 1, "stride", self.stride, "1 or more")
        require(self.inference in ("whole", "slide"), "inference", self.inference, "whole or slide")
        require(0 < self.largest_class <= 1, "largest_class", self.largest_class, "above 0, up to 1")
        require(0 <= self.flip <= 1, "flip", self.flip, "between 0 and 1")
        require(self.channels >= 1, "channels", self.channels, "1 or more")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "0 to below 1")
        require(self.auxiliary >= 0, "auxiliary", self.auxiliary, "0 or more")
        require(self.head_lr_scale > 0, "head_lr_scale", self.head_lr_scale, "above 0")
        rate = self.drop_path
        require(rate is None or 0 <= rate < 1, "drop_path", rate, "0 to below 1, or none")
        require(self.precision in ("auto", "bf16", "fp32"), "precision", self.precision, "auto, bf16 or fp32")
        images = self.train.images_per_pass or self.train.images
        require(images >= 2, "train.images", images, "2 or more in a pass, because batch norm compares images")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return recipe_dict(self)


# RWKV-SAM's schedule and mmsegmentation's UperNet; whole images, because the paper does not say how it evaluates.
PAPER = SegmentationRecipe(
    name="paper",
    scale=(2048, 512),
    ratio=(0.5, 2.0),
    crop=512,
    stride=341,
    inference="whole",
    largest_class=0.75,
    flip=0.5,
    distort=True,
    channels=512,
    dropout=0.1,
    auxiliary=0.4,
    head_lr_scale=10.0,
    drop_path=None,
    layer_scale=None,
    precision="auto",
    train=Optimisation(
        steps=160_000,
        max_minutes=None,
        images=16,
        lr=6e-5,
        lr_end=0.0,
        warmup_steps=1500,
        weight_decay=0.01,
        clip_norm=None,
        schedule="poly",
    ),
)

DEMO = SegmentationRecipe(
    name="demo",
    scale=(512, 128),
    ratio=(0.75, 1.5),
    crop=128,
    stride=85,
    inference="whole",
    largest_class=0.75,
    flip=0.5,
    distort=False,
    channels=64,
    dropout=0.0,
    auxiliary=0.4,
    head_lr_scale=2.0,
    drop_path=0.0,
    layer_scale=0.3,
    precision="auto",
    train=Optimisation(
        steps=500,
        max_minutes=5.0,
        images=8,
        lr=1e-3,
        lr_end=0.0,
        warmup_steps=20,
        weight_decay=0.01,
        clip_norm=1.0,
        schedule="poly",
    ),
)

RECIPES = {recipe.name: recipe for recipe in (DEMO, PAPER)}
