"""Options of `bench predict`, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import UsageError

DEFAULT_SYSTEM = "rwkvsam-t"
DTYPES = ("fp32", "bf16", "fp16")
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


@dataclass(frozen=True)
class PredictOptions:
    """What to segment, by what, and where results go.

    Attributes:
        images: Files, folders and patterns.
        boxes: `x0,y0,x1,y1` each; every box is a prompt, for all images.
        points: `x,y,label` each; together one prompt, for all images.
        prompts: JSON file of prompts by image name, see `read_prompts`; images it names take those alone.
        everything: Segment everything instead of prompts.
        automatic: Values of `AutomaticOptions` that differ from its defaults for the system.
        system: Name of the system.
        weights: `demo`, `official`, `official:<tag>` or a path; None: demo where there are demo weights, else official.
        multimask: Keep all three masks of each prompt.
        choice: Which single mask: `single` or `best`, see `Predictor.predict`.
        frame: Side of the square that images are scaled into, in pixels.
        out: Folder for the results.
        device: `cpu`, `cuda` or `cuda:<index>`.
        dtype: `fp32`, `bf16` or `fp16`.
        again: Predict images whose results are there already, too.

    Raises:
        UsageError: Values that cannot be meant, alone or together.
    """

    images: tuple[str, ...]
    boxes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    prompts: Path | None = None
    everything: bool = False
    automatic: Mapping[str, Any] = field(default_factory=dict)
    system: str = DEFAULT_SYSTEM
    weights: str | None = None
    multimask: bool = False
    choice: Literal["single", "best"] = "single"
    frame: int = 1024
    out: Path = Path("predictions")
    device: str = "cpu"
    dtype: str = "fp32"
    again: bool = False

    def __post_init__(self) -> None:
        prompted = bool(self.boxes or self.points or self.prompts)
        if self.everything and prompted:
            raise UsageError("--everything takes no prompts; leave it or --box, --point and --prompts out")
        if not self.everything and not prompted:
            raise UsageError(
                "nothing to segment: give --box x0,y0,x1,y1, --point x,y,label, --prompts FILE or --everything"
            )
        if self.everything and (self.multimask or self.choice != "single"):
            raise UsageError("--everything chooses its masks itself; leave --multimask and --choice out")
        if self.automatic and not self.everything:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in self.automatic)
            raise UsageError(f"{names} belongs to --everything")
        if self.choice not in ("single", "best"):
            raise UsageError(f"--choice '{self.choice}' is not known; expected single or best")
        if self.multimask and self.choice == "best":
            raise UsageError("--choice best keeps one mask, --multimask all three; give one of them")
        if self.dtype not in DTYPES:
            raise UsageError(f"--dtype '{self.dtype}' is not known; expected {', '.join(DTYPES)}")
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"--device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
