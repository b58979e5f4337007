"""What every suite does with an error: before the work a usage error, within it a row that says what went wrong."""

from __future__ import annotations

from ..errors import ImageSizeError, StoreError, UsageError
from ..results.provenance import collect
from ..results.schema import Cell, Row, Status


def check_device(device: str) -> None:
    """Refuse a CUDA device where none works.

    Raises:
        UsageError: No CUDA device works here.
    """
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: no CUDA device works here (`bench doctor` says why); use cpu")


def failed_row(cell: Cell, error: BaseException, device: str) -> Row:
    """The row of a cell that `error` ended: `interrupted`, `oom` or `failed`.

    Raises:
        UsageError, StoreError: `error` itself, as these are wrong for every cell; but not an `ImageSizeError`.
    """
    import torch

    if isinstance(error, (UsageError, StoreError)) and not isinstance(error, ImageSizeError):
        raise error
    status: Status = "failed"
    if isinstance(error, KeyboardInterrupt):
        status = "interrupted"
    elif isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        status = "oom"
    told = "interrupted" if status == "interrupted" else first_line(error)
    return Row(cell, status, provenance=collect(device), error=told)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
