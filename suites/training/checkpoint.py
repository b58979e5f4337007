"""Training checkpoints: a folder that exists whole or not at all, tensors in safetensors, the rest in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...errors import StoreError, WeightsError
from .averaging import Average

WEIGHTS = "weights.safetensors"
PREFIX = "step-"
AVERAGE = "average.safetensors"


def weights_file(cache: Path, key: str) -> Path:
    """The trained weights of a cell; checkpoints and logs of its training are beside it."""
    return cache / "train" / key / WEIGHTS


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically, on the disk when this returns.

    Raises:
        StoreError: The folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, dict(metadata or {}))
        _order_metadata(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error}; free space or choose another folder") from error


def _order_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which come in random order, so that equal tensors are equal files."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
            file.seek(8)
            file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


class Checkpointer:
    """Saves and restores the state of a training stage in one folder.

    Args:
        folder: One sub-folder per checkpoint, `step-<n>`; older ones are removed.
        keep: Newest checkpoints kept.
    """

    def __init__(self, folder: Path, *, keep: int = 1) -> None:
        self.folder = folder
        self.keep = keep

    def save(
        self,
        step: int,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        extra: Mapping[str, Any],
        average: Average | None = None,
    ) -> None:
        """Save after `step` finished steps; see `write`."""
        averaged = None if average is None else average.state()
        self.write(step, module.state_dict(), optimizer.state_dict(), extra, averaged)

    def write(
        self,
        step: int,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Any],
        extra: Mapping[str, Any],
        average: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Save after `step` finished steps; a kill at any moment leaves the last whole checkpoint in place.

        Args:
            step: Names the checkpoint.
            weights: State of what is trained.
            optimizer: State of the optimiser.
            extra: JSON values to keep beside.
            average: State of the moving average of the weights, if there is one.

        Raises:
            StoreError: The folder cannot be written.
        """
        temporary = self.folder / f".{PREFIX}{step}.{os.getpid()}.tmp"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            save_tensors(temporary / "model.safetensors", weights)
            tensors, scalars = _optimizer_state(optimizer)
            save_tensors(temporary / "optimizer.safetensors", tensors)
            if average is not None:
                save_tensors(temporary / AVERAGE, average)
            state = {"step": step, "optimizer": scalars, "extra": dict(extra)}
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
            _sync(temporary / "state.json")
            target = self.folder / f"{PREFIX}{step}"
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
            _sync(self.folder)
        except StoreError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise StoreError(
                f"cannot write a checkpoint below {self.folder}: {error}; free space or choose another LINBENCH_CACHE"
            ) from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self.folder / f"{PREFIX}{old}", ignore_errors=True)

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None = None
    ) -> tuple[int, dict[str, Any]] | None:
        """Load the newest checkpoint into `module`, `optimizer` and `average`.

        Returns:
            The finished steps and what was saved beside, or None where there is no checkpoint.

        Raises:
            WeightsError: A checkpoint is there but damaged or of another model.
        """
        steps = self.steps()
        if not steps:
            return None
        folder = self.folder / f"{PREFIX}{steps[-1]}"
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            module.load_state_dict(load_file(folder / "model.safetensors"))
            _load_optimizer(optimizer, load_file(folder / "optimizer.safetensors"), state["optimizer"])
            if average is not None:
                average.load(load_file(folder / AVERAGE))
            return int(state["step"]), dict(state["extra"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise WeightsError(f"cannot resume from {folder}: {error}; delete that folder to start again") from error

    def clear(self) -> None:
        """Remove all checkpoints, whole or torn; what else lies in the folder stays."""
        for folder in (*self.folder.glob(f"{PREFIX}*"), *self.folder.glob(f".{PREFIX}*")):
            shutil.rmtree(folder, ignore_errors=True)

    def steps(self) -> list[int]:
        """After which steps there are checkpoints, rising."""
        names = [p.name.removeprefix(PREFIX) for p in self.folder.glob(f"{PREFIX}*")]
        return sorted(int(name) for name in names if name.isdigit())


def _optimizer_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {
        f"{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    scalars = {
        f"{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if not isinstance(value, Tensor)
    }
    return tensors, scalars


def _load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *scalars.items()]:
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
