"""Named benchmark cases of the operators: shapes that backbones have, inputs, and the least work a call must do.

An operator's cases are in `kernels/<operator>/cases.py`, in a tuple `CASES`; a new folder needs no entry elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UsageError

Shape = Mapping[str, int]


@dataclass(frozen=True)
class Work:
    """The least that one call must do.

    Attributes:
        flops: Arithmetic operations; a multiply-add is two.
        bytes: Memory traffic, every input read once and every output written once.
        exps: Exponentials, logarithms and the like.
    """

    flops: int
    bytes: int
    exps: int = 0


@dataclass(frozen=True)
class OperatorCase:
    """One operator at one shape.

    Attributes:
        operator: `bi_wkv`, `selective_scan`, ...
        name: Names the case among those of its operator, as `vim-s 1024`.
        shape: Size of each dimension, by its letter.
        inputs: `(shape, generator)` to tensors on the CPU, floating ones float32; the caller casts and moves them.
        call: `(inputs, backend name)` to the output or outputs of the operator.
        forward: `(shape, bytes of an element)` to the work of a forward call.
        backward: The same for the gradients of all inputs, given those of the outputs.
        float32: Inputs that stay float32 when the others are cast to a shorter type.
        check: Sizes in place of those in `shape`, for comparing with the float64 reference where that would not fit.
    """

    operator: str
    name: str
    shape: Shape
    inputs: Callable[[Shape, torch.Generator], dict[str, Tensor]]
    call: Callable[[Mapping[str, Tensor], str], Tensor | tuple[Tensor, ...]]
    forward: Callable[[Shape, int], Work]
    backward: Callable[[Shape, int], Work]
    float32: tuple[str, ...] = ()
    check: Shape = field(default_factory=dict)

    def resized(self, sizes: Shape) -> OperatorCase:
        """The same case with other sizes; its name tells which.

        Raises:
            UsageError: The case has no such dimension, or a size is not positive.
        """
        for letter, size in sizes.items():
            if letter not in self.shape:
                raise UsageError(
                    f"shape: {self.operator} {self.name!r} has the dimensions {', '.join(self.shape)}, got {letter!r}"
                )
            if size < 1:
                raise UsageError(f"shape: sizes are at least 1, got {letter}={size}")
        changed = {name: sizes[name] for name, size in self.shape.items() if sizes.get(name, size) != size}
        if not changed:
            return self
        suffix = ",".join(f"{letter}={size}" for letter, size in changed.items())
        check = {letter: min(size, changed.get(letter, size)) for letter, size in self.check.items()}
        return replace(self, name=f"{self.name} {suffix}", shape={**self.shape, **changed}, check=check)

    def checked(self) -> Shape:
        """The sizes at which the case is compared with the float64 reference."""
        return {**self.shape, **self.check}


def _folders() -> list[str]:
    """Operators' folders that have a file of cases, found without importing any."""
    here = Path(__file__).parent
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(here)])
        if module.ispkg and (here / module.name / "cases.py").is_file()
    )


def operator_cases() -> dict[str, tuple[OperatorCase, ...]]:
    """The cases of every operator, by its name; imports the files they are in."""
    found: dict[str, tuple[OperatorCase, ...]] = {}
    for folder in _folders():
        cases: tuple[OperatorCase, ...] = importlib.import_module(f"{__package__}.{folder}.cases").CASES
        for case in cases:
            found[case.operator] = (*found.get(case.operator, ()), case)
    return found
