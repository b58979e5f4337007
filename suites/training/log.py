"""What a training tells while it goes on: lines of JSON, and TensorBoard's files where that package is there."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ...results.files import write_atomic

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class TrainLog:
    """Appends points of a training to `log.jsonl` in a folder, each one whole line in one write.

    Args:
        folder: Made if need be.
        step: Finished steps of an earlier run that goes on here; what it told of later ones is dropped.

    Raises:
        StoreError: The folder cannot be written.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        self.path = folder / LOG
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [line for line in self._lines() if _step(line) <= step]
            write_atomic(self.path, b"".join(line + b"\n" for line in kept), overwrite=True)
            self._board: Any = None
            if importlib.util.find_spec("tensorboard") is not None:
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)
        except OSError as error:
            raise self._complaint(error) from error

    def add(self, point: Mapping[str, float]) -> None:
        """Append one point; `step` is its step.

        Raises:
            StoreError: It cannot be written.
        """
        line = json.dumps(dict(point)).encode() + b"\n"
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
            if self._board is not None:
                for name, value in point.items():
                    if name != "step":
                        self._board.add_scalar(name, value, int(point["step"]))
        except OSError as error:
            raise self._complaint(error) from error

    def close(self) -> None:
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _lines(self) -> list[bytes]:
        # What stands after the last line break is a line that a kill cut off.
        return self.path.read_bytes().split(b"\n")[:-1] if self.path.is_file() else []

    def _complaint(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write {self.path}: {error.strerror or error}; free space or choose another folder")


def _step(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
