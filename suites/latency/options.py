"""What a latency sweep is asked to do: options, checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from ...backbones import backbone_spec
from ...errors import UsageError
from ..runner.sampling import Timing
from .resolutions import EXPECTED, PATCH

Stage = Literal["backbone", "encoder", "decoder", "e2e"]
Dtype = Literal["fp32", "bf16", "fp16"]
Attention = Literal["sdpa", "eager"]
Compile = Literal["none", "default", "max-autotune", "graphs"]
AUTO = "auto"
OF_SYSTEMS = ("encoder", "decoder", "e2e")
WITH_PROMPTS = ("decoder", "e2e")
_LONGEST_WARMUP_S = 60.0
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_SUBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class LatencyOptions:
    """A latency sweep. What is a tuple becomes a cell for each of its values.

    Attributes:
        backbones: Registry names; measured at the stage `backbone`.
        systems: Names of systems; measured at the other stages.
        stages: `backbone` alone; `encoder`: a system's backbone and neck; `decoder`: its prompts on a stored
            embedding; `e2e`: both. None: `backbone` for backbones, `e2e` for systems.
        prompts: Boxes to decode for each image, at the stages `decoder` and `e2e`.
        refine: Refine modules of the common decoder, at the same stages; `auto` is the system's own.
        resolutions: Image sides in pixels.
        batches: Images in one forward pass; `auto` for the batch of the best throughput, in a row of its own kind.
        dtypes: Types of weights and activations.
        tf32: Let the matrix units round fp32 to TF32; CUDA only, other dtypes are as they are.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads of a model; None for the physical cores that this process may use.
        attention: Ways to compute softmax attention; a model that has the choice is a subject of its own for each.
        channels_last: Give images and weights in channels-last memory.
        compile: How the model is called: `none`, through `torch.compile` by its `default` or `max-autotune` mode
            (without CUDA graphs), or `graphs`: a captured CUDA graph is replayed.
        kernels: Backend of LinBench's operators, for the models that call them.
        memory_limit_mib: Memory that a model may use above its weights; None for what the machine has.
        subject: `module:function` that makes the model from a backbone's name, in place of the registry, to time a
            module of one's own; it must be importable by a new Python process.
        seed: Seed of the weights, the inputs and the order of the blocks.
        rounds: Rounds of interleaved blocks at least, time permitting.
        budget_s: Seconds of timed iterations that one cell may take, though never fewer than four samples.
        timeout_s: Seconds after which a silent worker is given up.
        interleave: Keep the workers of all subjects alive and take turns; else one subject after the other.
        aa: Measure every subject against itself, in two processes: what the harness makes of no difference.
        sentinel: Time a fixed piece of work at the beginning, in the middle and at the end, for the noise floor.
    """

    backbones: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    stages: tuple[Stage, ...] | None = None
    prompts: tuple[int, ...] = (1,)
    refine: tuple[str, ...] = (AUTO,)
    resolutions: tuple[int, ...] = (1024,)
    batches: tuple[int | str, ...] = (1,)
    dtypes: tuple[Dtype, ...] = ("fp32",)
    tf32: bool = False
    device: str = "cpu"
    threads: int | None = None
    attention: tuple[Attention, ...] = ("sdpa",)
    channels_last: bool = True
    compile: tuple[Compile, ...] = ("none",)
    kernels: str = "auto"
    memory_limit_mib: int | None = None
    subject: str | None = None
    seed: int = 0
    rounds: int = 6
    budget_s: float = 30.0
    timeout_s: float = 900.0
    interleave: bool = True
    aa: bool = False
    sentinel: bool = True

    def __post_init__(self) -> None:
        self._check_names()
        if not self.resolutions:
            raise UsageError(f"no resolution given; {EXPECTED}")
        for side in self.resolutions:
            if side <= 0 or side % PATCH:
                raise UsageError(f"resolution {side} is not a positive multiple of {PATCH}")
        _some_of("dtype", self.dtypes, get_args(Dtype))
        _some_of("compile", self.compile, get_args(Compile))
        _some_of("kind of attention", self.attention, get_args(Attention))
        _counts("batch", self.batches, allowed=(AUTO,))
        _counts("prompts", self.prompts)
        self._check_refine()
        self._check_kernels()
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        for name in ("rounds", "threads", "memory_limit_mib", "budget_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; expected a positive number")
        if self.tf32 and (self.device == "cpu" or "fp32" not in self.dtypes):
            raise UsageError("--tf32 is for fp32 on CUDA; give --device cuda and --dtype fp32, or leave it out")

    def _check_names(self) -> None:
        if not self.backbones and not self.systems:
            raise UsageError("no backbone given; name at least one, for example --backbone rwkvsam-s,vit-s")
        if self.subject is not None and not _SUBJECT.fullmatch(self.subject):
            raise UsageError(f"subject '{self.subject}' is not of the form module:function")
        if self.stages is not None:
            _some_of("stage", self.stages, get_args(Stage))
            if self.backbones and "backbone" not in self.stages:
                raise UsageError(
                    f"stage {self.stages[0]} is of a system, not of a backbone; give --system NAME, "
                    f"for example --system {self.backbones[0]}+sam (`bench list systems`)"
                )
            if self.systems and set(self.stages) <= {"backbone"}:
                raise UsageError("stage backbone is of a backbone, not of a system; give --backbone NAME")
        if self.subject is None:
            for backbone in self.backbones:
                backbone_spec(backbone)
        if self.systems:
            from ...heads.sam.systems import system_spec

            for system in self.systems:
                system_spec(system)

    def _check_refine(self) -> None:
        if not self.refine:
            raise UsageError("no refine module given; expected auto or names that `bench list refine` shows")
        if set(self.refine) == {AUTO}:
            return
        from ...heads.sam.refine import refine_operators

        for name in self.refine:
            refine_operators(name)
        if not self.systems or not set(self.stages_of_systems()) & set(WITH_PROMPTS):
            raise UsageError(
                f"refine module {self.refine[0]} is of a system's decoder; give --system NAME and stage e2e or decoder"
            )

    def _check_kernels(self) -> None:
        if self.kernels == AUTO:
            return
        from ...kernels import operator_backends

        known = sorted({status.backend for status in operator_backends()})
        if self.kernels not in known:
            raise UsageError(f"kernels '{self.kernels}' are not known; expected {AUTO} or one of {', '.join(known)}")

    def stages_of_systems(self) -> tuple[Stage, ...]:
        """The stages that systems are measured at."""
        return ("e2e",) if self.stages is None else tuple(stage for stage in self.stages if stage in OF_SYSTEMS)

    @property
    def timing(self) -> Timing:
        """How long and how often to measure: what does not change what a cell is."""
        on_cpu = self.device == "cpu"
        return Timing(
            rounds=self.rounds,
            block_s=0.5 if on_cpu else 0.2,
            budget_s=self.budget_s,
            warmup_s=min(_LONGEST_WARMUP_S, max(Timing.warmup_s, self.budget_s)),
            half_width=0.02 if on_cpu else 0.01,
            timeout_s=self.timeout_s,
            interleave=self.interleave,
        )


def parse_batches(text: str) -> tuple[int | str, ...]:
    """Read `1,8,auto`; what is no number stays text, which the options judge."""
    parts = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _some_of(what: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    if not values:
        raise UsageError(f"no {what} given; expected {', '.join(allowed)} or several")
    for value in values:
        if value not in allowed:
            raise UsageError(f"{what} '{value}' is not known; expected one of {', '.join(allowed)}")


def _counts(what: str, values: tuple[int | str, ...], *, allowed: tuple[str, ...] = ()) -> None:
    words = "".join(f" or {word}" for word in allowed)
    if not values:
        raise UsageError(f"no {what} given; expected positive numbers{words}, for example {what} 1,8")
    for value in values:
        if value not in allowed and (not isinstance(value, int) or value <= 0):
            raise UsageError(f"{what} is {value}; expected positive numbers{words}")
