"""Which backends each operator has, which of them work here, and which one serves a call."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..errors import BackendError, UsageError


class BackendStatus(NamedTuple):
    """Whether a backend of an operator works on this machine, and if not, why."""

    operator: str
    backend: str
    available: bool
    reason: str


@dataclass(frozen=True)
class Backend:
    """One implementation of an operator, as data.

    Attributes:
        name: What `backend=` takes.
        devices: Device types it serves; empty for all.
        dtypes: Storage types it serves; empty for all floating ones.
        conventions: Variants of the formula it serves.
        module: A Python module it needs, or none.
        unavailable: Gives the reason why it cannot run on a device type on this machine, empty if it can; or none.
    """

    name: str
    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()
    conventions: tuple[str, ...] = ("paper",)
    module: str = ""
    unavailable: Callable[[str], str] | None = None

    def refusal(self, device: str, dtype: torch.dtype, convention: str) -> str:
        """Why it cannot serve a call; empty if it can."""
        if self.devices and device not in self.devices:
            return f"it serves {', '.join(self.devices)} tensors, got {device}"
        if self.dtypes and dtype not in self.dtypes:
            return f"it serves {', '.join(map(str, self.dtypes))}, got {dtype}"
        if convention not in self.conventions:
            return f"it has no convention={convention!r}"
        if self.module in _absent:
            return f"the Python package {self.module} is not installed"
        return self.unavailable(device) if self.unavailable else ""

    def defect(self) -> str:
        """Why it works nowhere on this machine; empty if it does. Imports what it needs."""
        try:
            if self.module:
                importlib.import_module(self.module)
        except Exception as error:
            return f"import {self.module} fails: {type(error).__name__}: {error}"
        if self.unavailable is None:
            return ""
        reasons = [self.unavailable(device) for device in self.devices]
        return reasons[0] if all(reasons) else ""


_operators: dict[str, tuple[Backend, ...]] = {}
_absent: set[str] = set()
_warned: set[tuple[str, str]] = set()


def _warn_slow(operator: str, device: str, backend: str) -> None:
    if (operator, device) in _warned:
        return
    _warned.add((operator, device))
    warnings.warn(
        f"{operator} on {device} runs in its pure PyTorch form (backend {backend!r}), which is slow: "
        "there is no compiled kernel for this device yet",
        stacklevel=4,
    )


def register_operator(name: str, backends: tuple[Backend, ...]) -> None:
    """Lists an operator's backends in the order in which `auto` tries them."""
    _operators[name] = backends
    _absent.update(b.module for b in backends if b.module and importlib.util.find_spec(b.module) is None)


def operator_backends() -> list[BackendStatus]:
    """Every backend of every operator, and whether it works on this machine (which imports what it needs)."""
    defects = {backend: backend.defect() for backends in _operators.values() for backend in backends}
    return [
        BackendStatus(operator, backend.name, not defects[backend], defects[backend])
        for operator, backends in sorted(_operators.items())
        for backend in backends
    ]


def resolve_backend(
    operator: str,
    device: torch.device | str,
    dtype: torch.dtype,
    backend: str = "auto",
    *,
    convention: str = "paper",
) -> str:
    """Name of the backend that serves such a call.

    Args:
        operator: `bi_wkv`, `q_shift`, ...
        device: Where the tensors are.
        dtype: Storage type of the values (of `v`, of `x`).
        backend: `auto`, or the one to use.
        convention: Variant of the formula.

    Raises:
        UsageError: No such operator or backend.
        BackendError: A forced backend cannot serve the call, or none can.
    """
    if operator not in _operators:
        raise UsageError(f"operator {operator!r} does not exist; there are {', '.join(sorted(_operators))}")
    place = torch.device(device).type
    candidates = {candidate.name: candidate for candidate in _operators[operator]}
    if backend != "auto":
        if backend not in candidates:
            raise UsageError(f"backend: {operator} has {', '.join(candidates)} and auto, got {backend!r}")
        refusal = candidates[backend].refusal(place, dtype, convention)
        if refusal:
            raise BackendError(f"{operator}: backend {backend!r} cannot serve this call: {refusal}; try backend='auto'")
        return backend
    for candidate in candidates.values():
        if not candidate.refusal(place, dtype, convention):
            slow = place not in ("cpu", "meta") and candidate.name in ("torch", "reference")
            if slow and not torch.compiler.is_compiling():
                _warn_slow(operator, place, candidate.name)
            return candidate.name
    raise BackendError(f"{operator}: no backend serves {place} tensors of {dtype} with convention={convention!r}")
