"""Which operators, cases and implementations there are: LinBench's own, or those of a module of the user's."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from functools import lru_cache

import torch

from ...errors import BackendError, UsageError
from ...kernels import operator_backends, resolve_backend
from ...kernels.cases import OperatorCase, operator_cases

# In plain PyTorch, so what they index and add up is beyond doubt at any size.
PLAIN = ("reference", "torch")
_MAIN = "-s 1024"


def all_cases(source: str | None) -> dict[str, tuple[OperatorCase, ...]]:
    """Cases by operator.

    Args:
        source: `module:attribute` of a tuple of cases that takes the place of LinBench's own; the module registers
            its operators.

    Raises:
        UsageError: `source` cannot be imported.
    """
    if source is None:
        return operator_cases()
    module, _, attribute = source.partition(":")
    try:
        cases: tuple[OperatorCase, ...] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"cases '{source}' cannot be imported as module:attribute: {error}") from error
    return {
        operator: tuple(case for case in cases if case.operator == operator)
        for operator in dict.fromkeys(case.operator for case in cases)
    }


def find_case(source: str | None, operator: str, name: str) -> OperatorCase:
    """The case called `name`.

    Raises:
        UsageError: No such operator or case; the message suggests near ones.
    """
    cases = all_cases(source)
    require("operator", operator, cases)
    require(f"shape of {operator}", name, [case.name for case in cases[operator]])
    return next(case for case in cases[operator] if case.name == name)


def main_case(cases: Sequence[OperatorCase]) -> OperatorCase:
    """The case that stands for its operator: where there is one, that of an -s backbone at 1024 pixels."""
    return next((case for case in cases if _MAIN in case.name), cases[0])


def require(what: str, name: str, known: Sequence[str] | dict[str, tuple[OperatorCase, ...]]) -> None:
    """Raise a UsageError that suggests near names unless `name` is one of `known`."""
    if name not in known:
        close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.4)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UsageError(f"unknown {what} {name!r}.{hint} There are: {', '.join(known)}.")


@lru_cache
def _defects() -> dict[tuple[str, str], str]:
    return {(status.operator, status.backend): status.reason for status in operator_backends()}


def implementations(operator: str) -> tuple[str, ...]:
    """Every backend of an operator, whether it works here or not."""
    return tuple(backend for name, backend in _defects() if name == operator)


def truth_of(operator: str) -> str:
    """The backend that defines what is right: the reference, or where the operator is trivial its plain form."""
    return next(name for name in PLAIN if name in implementations(operator))


def refusal(operator: str, backend: str, device: str, dtype: torch.dtype) -> str:
    """Why a backend cannot run on this device in this dtype; empty if nothing speaks against trying."""
    defect = _defects()[operator, backend]
    if defect:
        return defect
    try:
        resolve_backend(operator, device, dtype, backend)
    except BackendError as error:
        return str(error)
    return ""
