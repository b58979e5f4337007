"""Training recipes as validated data: the published values, and values scaled to minutes on two CPU cores."""

from __future__ import annotations

import dataclasses
import sys
import typing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from ...errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Precision = Literal["auto", "bf16", "fp32"]


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise UsageError(f"recipe value {name}={value!r} is out of range; expected {expected}")


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay.

    Attributes:
        steps: Optimiser steps; 0 leaves the stage out.
        max_minutes: Wall-clock limit, or None. The cosine follows whichever is further, steps or minutes,
            so that a slow machine ends its schedule too; the row says how many steps were done.
        images: Images in a step.
        lr: Peak learning rate.
        lr_end: Last learning rate as a fraction of the peak.
        warmup_steps: Steps of linear warm-up.
        weight_decay: On weights with two or more dimensions; norms, biases and other vectors have none.
        clip_norm: Largest gradient norm, or None.
        betas: AdamW's averaging coefficients.
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

    def __post_init__(self) -> None:
        _require(self.steps >= 0, "steps", self.steps, "0 or more")
        _require(self.max_minutes is None or self.max_minutes > 0, "max_minutes", self.max_minutes, "above 0, or none")
        _require(self.images >= 1, "images", self.images, "1 or more")
        _require(self.lr > 0, "lr", self.lr, "above 0")
        _require(0 <= self.lr_end <= 1, "lr_end", self.lr_end, "between 0 and 1")
        _require(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "0 or more")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", self.clip_norm, "above 0, or none")


@dataclass(frozen=True)
class MaskLoss:
    """Point-sampled BCE and Dice."""

    bce_weight: float = 5.0
    dice_weight: float = 5.0
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def __post_init__(self) -> None:
        _require(self.points >= 1, "points", self.points, "1 or more")
        _require(self.oversample >= 1, "oversample", self.oversample, "1 or more")
        _require(0 <= self.importance <= 1, "importance", self.importance, "between 0 and 1")


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
        _require(0 <= self.flip <= 1, "flip", self.flip, "between 0 and 1")
        low, high = self.resize
        _require(0 < low <= high, "resize", list(self.resize), "two rising numbers above 0")
        _require(self.colour >= 0, "colour", self.colour, "0 or more")


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
    mix: str = ""

    def __post_init__(self) -> None:
        for name in ("frame", "eval_frame"):
            value = getattr(self, name)
            _require(value >= 32 and value % 32 == 0, name, value, "a positive multiple of 32")
        _require(self.instances >= 1, "instances", self.instances, "1 or more")
        _require(self.precision in ("auto", "bf16", "fp32"), "precision", self.precision, "auto, bf16 or fp32")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-ready values; without a mix none is named."""
        values = dataclasses.asdict(self)
        return values if self.mix else {name: value for name, value in values.items() if name != "mix"}


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


def load_recipe(name: str, overrides: typing.Sequence[str] = ()) -> Recipe:
    """Find a recipe and change values of it.

    Args:
        name: `demo`, `paper`, or the path of a TOML file. A file may name its `base` and give only what differs.
        overrides: `key=value` texts; nested keys with a dot, for example `joint.lr=1e-4`.

    Raises:
        UsageError: Unknown recipe, key or unfitting value.
    """
    recipe = RECIPES[name] if name in RECIPES else _from_file(Path(name))
    for text in overrides:
        key, found, value = text.partition("=")
        if not found:
            raise UsageError(f"cannot read --set '{text}'; expected key=value, for example joint.lr=1e-4")
        recipe = _changed(recipe, key.strip().split("."), _parse(value.strip()), key)
    return recipe


def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise UsageError(f"unknown recipe '{path}'; expected {', '.join(RECIPES)} or the path of a TOML file")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is no valid TOML: {error}") from error
    base = data.pop("base", "demo")
    if base not in RECIPES:
        raise UsageError(f"recipe {path} names base '{base}'; expected one of {', '.join(RECIPES)}")
    recipe = replace(RECIPES[base], name=path.stem)
    for key, value in _flat(data):
        recipe = _changed(recipe, key, value, ".".join(key))
    return recipe


def _flat(data: dict[str, Any], prefix: tuple[str, ...] = ()) -> typing.Iterator[tuple[list[str], Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, (*prefix, key))
        else:
            yield [*prefix, key], value


def _parse(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _changed(node: Any, path: list[str], value: Any, full: str) -> Any:
    known = {f.name: f for f in fields(node)}
    if path[0] not in known or path == ["name"]:
        raise UsageError(f"recipes have no key '{full}'; here: {', '.join(k for k in known if k != 'name')}")
    if len(path) > 1:
        child = getattr(node, path[0])
        if not dataclasses.is_dataclass(child):
            raise UsageError(f"recipe key '{full}' goes too deep: '{path[0]}' is a single value")
        return replace(node, **{path[0]: _changed(child, path[1:], value, full)})
    hint = typing.get_type_hints(type(node))[path[0]]
    return replace(node, **{path[0]: _coerce(value, hint, full)})


def _coerce(value: Any, hint: Any, key: str) -> Any:
    choices = typing.get_args(hint)
    if value is None and type(None) in choices:
        return None
    plain = next((c for c in choices if c is not type(None)), hint) if type(None) in choices else hint
    if plain is bool and isinstance(value, bool):
        return value
    if plain is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if plain is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    numbers = isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)
    if typing.get_origin(plain) is tuple and numbers and len(value) == len(typing.get_args(plain)):
        return tuple(float(v) for v in value)
    if typing.get_origin(plain) is Literal and value in typing.get_args(plain):
        return value
    expected = getattr(plain, "__name__", str(plain)).replace("typing.", "")
    raise UsageError(f"recipe key '{key}' got {value!r}; expected {expected}")
