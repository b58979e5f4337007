"""What a latency sweep is asked to do: options, checked, and resolutions read from text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from ..backbones import backbone_spec
from ..errors import UsageError
from .runner.sampling import Timing

Dtype = Literal["fp32", "bf16", "fp16"]
Attention = Literal["sdpa", "eager"]
PATCH = 16
DEFAULT_STEP = 256
_EXPECTED = "expected A..B, A..B:STEP or a comma list, in multiples of 16 (for example 512..2048:256 or 512,1024)"
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_SUBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def parse_resolutions(text: str) -> tuple[int, ...]:
    """Read `512..2048` (step 256), `512..2048:512`, `512,1024` or `1024` as ascending image sides in pixels.

    Raises:
        UsageError: Anything else, an end that the steps do not reach, or sides that are no multiples of 16.
    """
    spread = re.fullmatch(r"\s*(\d+)\s*\.\.\s*(\d+)\s*(?::\s*(\d+)\s*)?", text)
    if spread:
        first, last, step = int(spread[1]), int(spread[2]), int(spread[3] or DEFAULT_STEP)
        sides = _spread(text, first, last, step)
    elif re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        sides = tuple(sorted({int(part) for part in text.split(",")}))
    else:
        raise UsageError(f"--res '{text}': {_EXPECTED}")
    bad = [side for side in sides if side <= 0 or side % PATCH]
    if bad:
        raise UsageError(f"--res '{text}': {bad[0]} is not a positive multiple of {PATCH}; {_EXPECTED}")
    return sides


def _spread(text: str, first: int, last: int, step: int) -> tuple[int, ...]:
    if step <= 0 or last < first:
        raise UsageError(
            f"--res '{text}': the end must not lie below the start and the step must be positive; {_EXPECTED}"
        )
    if (last - first) % step:
        below = last - (last - first) % step
        raise UsageError(
            f"--res '{text}': steps of {step} from {first} do not reach {last}; "
            f"end at {below} or {below + step}, or give another step (A..B:STEP)"
        )
    return tuple(range(first, last + 1, step))


@dataclass(frozen=True)
class LatencyOptions:
    """A latency sweep.

    Attributes:
        backbones: Registry names.
        resolutions: Image sides in pixels.
        batch: Images in one forward pass.
        dtype: Type of weights and activations.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads of a model; None for the physical cores that this process may use.
        attention: Ways to compute softmax attention; a model that has the choice is a subject of its own for each.
        channels_last: Give images and weights in channels-last memory.
        compile: How `torch.compile` is used.
        kernels: Backend of LinBench's operators, for the models that call them.
        memory_limit_mib: Memory that a model may use above its weights; None for what the machine has.
        subject: `module:function` that makes the model from a backbone's name, in place of the registry, to time a
            module of one's own; it must be importable by a new Python process.
        seed: Seed of the weights, the inputs and the order of the blocks.
        rounds: Rounds of interleaved blocks at least, time permitting.
        budget_s: Seconds of timed iterations that one cell may take, though never fewer than three samples.
        timeout_s: Seconds after which a silent worker is given up.
        interleave: Keep the workers of all subjects alive and take turns; else one subject after the other.
    """

    backbones: tuple[str, ...]
    resolutions: tuple[int, ...] = (1024,)
    batch: int = 1
    dtype: Dtype = "fp32"
    device: str = "cpu"
    threads: int | None = None
    attention: tuple[Attention, ...] = ("sdpa",)
    channels_last: bool = True
    compile: Literal["none"] = "none"
    kernels: str = "auto"
    memory_limit_mib: int | None = None
    subject: str | None = None
    seed: int = 0
    rounds: int = 6
    budget_s: float = 30.0
    timeout_s: float = 900.0
    interleave: bool = True

    def __post_init__(self) -> None:
        if not self.backbones:
            raise UsageError("no backbone given; name at least one, for example --backbone rwkvsam-s,vit-s")
        if not self.resolutions:
            raise UsageError(f"no resolution given; {_EXPECTED}")
        for side in self.resolutions:
            if side <= 0 or side % PATCH:
                raise UsageError(f"resolution {side} is not a positive multiple of {PATCH}")
        _one_of("dtype", self.dtype, get_args(Dtype))
        _one_of("compile", self.compile, ("none",))
        if not self.attention:
            raise UsageError("no kind of attention given; expected sdpa, eager or both")
        for kind in self.attention:
            _one_of("attention", kind, get_args(Attention))
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        for name in ("batch", "rounds", "threads", "memory_limit_mib", "budget_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}; expected a positive number")
        if self.subject is None:
            for backbone in self.backbones:
                backbone_spec(backbone)
        elif not _SUBJECT.fullmatch(self.subject):
            raise UsageError(f"subject '{self.subject}' is not of the form module:function")

    @property
    def timing(self) -> Timing:
        """How long and how often to measure: what does not change what a cell is."""
        on_cpu = self.device == "cpu"
        return Timing(
            rounds=self.rounds,
            block_s=0.5 if on_cpu else 0.2,
            budget_s=self.budget_s,
            half_width=0.02 if on_cpu else 0.01,
            timeout_s=self.timeout_s,
            interleave=self.interleave,
        )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} '{value}' is not known; expected one of {', '.join(allowed)}")
