"""What `bench kernels` is asked to do, checked, and the cases that it selects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch

from ...errors import UsageError
from ...kernels.cases import OperatorCase, Shape
from ..runner.sampling import Timing
from .catalogue import all_cases, implementations, main_case, require

Direction = Literal["forward", "backward"]
Launch = Literal["eager", "graph"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")
_SIZES = re.compile(r"\s*[A-Za-z]\w*\s*=\s*-?\d+\s*(,\s*[A-Za-z]\w*\s*=\s*-?\d+\s*)*")


@dataclass(frozen=True)
class KernelOptions:
    """A comparison of implementations.

    Attributes:
        operators: Names; none for all.
        shapes: Names or patterns of cases (`vim-s*`; `all`), and sizes that replace those of the selected cases
            (`T=4096,C=384`; without a name, of each operator's first case). None for all cases, but on the CPU for one
            of each of LinBench's operators, which takes minutes where all take more than half an hour.
        backends: Implementations; none for all.
        directions: `forward`, `backward`.
        dtypes: Storage types; none for fp32 on the CPU, fp32 and bf16 on CUDA.
        device: `cpu`, `cuda` or `cuda:<index>`.
        threads: Numbers of CPU threads, each a subject of its own; none for the physical cores. Of no use on CUDA.
        launches: On CUDA, `eager` (device time of a call, caches flushed) and `graph` (replay of a CUDA graph of many
            calls, caches warm); none for both.
        source: `module:attribute` of a tuple of `OperatorCase`, to measure operators of one's own.
        seed: Seed of the inputs and of the order of the blocks.
        rounds: Rounds of interleaved blocks at least, time permitting.
        budget_s: Seconds of timed calls that one cell may take, though never fewer than four samples.
        patience_s: The reference is not timed where a call of it would take longer than this.
        timeout_s: Seconds after which a silent worker is given up.
    """

    operators: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ("forward", "backward")
    dtypes: tuple[str, ...] = ()
    device: str = "cpu"
    threads: tuple[int, ...] = ()
    launches: tuple[Launch, ...] = ()
    source: str | None = None
    seed: int = 0
    rounds: int = 6
    budget_s: float = 3.0
    patience_s: float = 5.0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"device '{self.device}' is not known; expected cpu, cuda or cuda:<index>")
        if not self.directions:
            raise UsageError("neither forward nor backward is asked for; expected at least one")
        for name, values, known in (
            ("direction", self.directions, get_args(Direction)),
            ("dtype", self.dtypes, tuple(DTYPES)),
            ("launch", self.launches, get_args(Launch)),
        ):
            for value in values:
                if value not in known:
                    raise UsageError(f"{name} '{value}' is not known; expected one of {', '.join(known)}")
        if self.on_cpu and "graph" in self.launches:
            raise UsageError("launch 'graph' needs a CUDA device; use --device cuda")
        for threads in self.threads:
            if threads < 1:
                raise UsageError(f"threads is {threads}; expected positive numbers, for example 1,2")
        for option in ("rounds", "budget_s", "patience_s", "timeout_s"):
            if not getattr(self, option) > 0:
                raise UsageError(f"{option} is {getattr(self, option)}; expected a positive number")
        self.cases()

    @property
    def on_cpu(self) -> bool:
        """Whether host code is measured."""
        return self.device == "cpu"

    @property
    def abridged(self) -> bool:
        """Whether one case stands for all of an operator."""
        return self.on_cpu and self.source is None and not self.shapes

    @property
    def timing(self) -> Timing:
        """How long and how often to measure: what does not change what a cell is."""
        return Timing(
            rounds=self.rounds,
            block_s=0.1 if self.on_cpu else 0.02,
            budget_s=self.budget_s,
            warmup_s=1.0,
            half_width=0.02 if self.on_cpu else 0.01,
            timeout_s=self.timeout_s,
        )

    def cases(self) -> list[tuple[OperatorCase, OperatorCase]]:
        """The selected cases with their sizes replaced, each after the case it was made of.

        Raises:
            UsageError: No such operator, case, dimension or backend.
        """
        known = all_cases(self.source)
        for operator in self.operators:
            require("operator", operator, known)
        chosen = self.operators or tuple(sorted(known))
        for backend in self.backends:
            require("backend", backend, sorted({name for operator in chosen for name in implementations(operator)}))
        if self.abridged:
            return [(case, case) for case in (main_case(known[operator]) for operator in chosen)]
        names, sizes = _read_shapes(self.shapes)
        there = [case for operator in chosen for case in known[operator]]
        for name in names:
            if not any(fnmatchcase(case.name, name) for case in there):
                require(f"shape of {', '.join(chosen)}", name, [case.name for case in there])
        cases = [case for operator in chosen for case in _named(known[operator], names, first=bool(sizes))]
        fitting = [case for case in cases if set(sizes) <= set(case.shape)]
        if cases and not fitting:
            cases[0].resized(sizes)
        return [(case, case.resized(sizes)) for case in fitting]


def parse_sizes(text: str) -> dict[str, int]:
    """Read `T=4096,C=384`.

    Raises:
        UsageError: Anything else.
    """
    if not _SIZES.fullmatch(text):
        raise UsageError(f"shape '{text}' cannot be read; expected a case's name or sizes such as T=4096,C=384")
    return {letter.strip(): int(size) for letter, _, size in (part.partition("=") for part in text.split(","))}


def format_sizes(shape: Shape) -> str:
    """The text that `parse_sizes` reads."""
    return ",".join(f"{letter}={size}" for letter, size in shape.items())


def _read_shapes(texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    sizes: dict[str, int] = {}
    for text in texts:
        if "=" in text:
            sizes |= parse_sizes(text)
    names = [text.strip() for text in texts if "=" not in text]
    return ["*" if name == "all" else name for name in names], sizes


def _named(cases: Sequence[OperatorCase], patterns: Sequence[str], *, first: bool) -> list[OperatorCase]:
    if not patterns:
        return list(cases[:1] if first else cases)
    return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
