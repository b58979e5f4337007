"""Reading checkpoints without running what is in them."""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import WeightsError
from .download import looks_like_markup
from .official import NESTINGS, load_official, named_tensors

GIT_LFS = b"version https://git-lfs"


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weights_sha256(path: str | Path) -> str:
    """SHA-256 of a checkpoint.

    Raises:
        WeightsError: It is not there.
    """
    return file_sha256(_existing(path))


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"weights not found: {path} is no file; give the path of a .safetensors or .pth checkpoint")
    return path


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name.

    Safetensors files are read as such; anything else goes through `torch.load(weights_only=True)`, which runs no code.
    A state dict nested under `state_dict`, `model` or the like is taken out. A zip archive around one checkpoint, as
    some authors publish it, is read as that checkpoint.

    Raises:
        WeightsError: Not there, not a checkpoint, truncated, or a pickle that wants to run code.
    """
    path = _existing(path)
    head = _head(path)
    if path.suffix == ".safetensors" or _is_safetensors(head):
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise WeightsError(f"{path} is not a whole safetensors file ({error}); download it again") from error
    tensors = named_tensors(_torch_load(path))
    if not tensors:
        raise WeightsError(
            f"{path} holds no tensors by name; expected a state dict, bare or under {', '.join(NESTINGS)}"
        )
    return tensors


def load_checkpoint(module: nn.Module, path: Path) -> None:
    """Read a checkpoint and load it, as `read_checkpoint` and `load_official` do.

    Raises:
        WeightsError: Either's, with the file's name.
    """
    state = read_checkpoint(path)
    try:
        load_official(module, state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _head(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        WeightsError: They tell that it is no checkpoint at all.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise WeightsError(f"{path} is empty; download it again")
    if looks_like_markup(head):
        raise WeightsError(
            f"{path} is a web page, saved instead of the checkpoint; open it in a browser to see what the server said, "
            "and download it again"
        )
    if head.startswith(GIT_LFS):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the checkpoint it stands for; run `git lfs pull` there, or "
            "download it again"
        )
    return head


def _is_safetensors(head: bytes) -> bool:
    return head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32


def _archived(path: Path) -> io.BytesIO | None:
    """The one checkpoint in a zip archive that is not a checkpoint itself."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
        inner = [name for name in names if name.endswith((".pt", ".pth"))]
        if len(inner) != 1 or any(name.endswith("data.pkl") for name in names):
            return None
        return io.BytesIO(archive.read(inner[0]))


def _torch_load(path: Path) -> Any:
    try:
        zipped = zipfile.is_zipfile(path)
        inner = _archived(path) if zipped else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Files older than PyTorch 1.6 are no zip archives and cannot be mapped into memory.
            # Training scripts leave their options in the file: names and plain values, which run no code.
            with torch.serialization.safe_globals([argparse.Namespace]):
                return torch.load(
                    path if inner is None else inner,
                    map_location="cpu",
                    weights_only=True,
                    mmap=zipped and inner is None,
                )
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise WeightsError(
                f"{path} is a pickle that would run code when loaded, so it was refused; "
                "convert it to safetensors where you trust it, or get it from its authors again"
            ) from error
        raise WeightsError(
            f"{path} is damaged, no checkpoint, or a pickle that does more than name tensors, so it was refused; "
            "download it again"
        ) from error
    except Exception as error:
        # The unpickler meets damaged bytes with whatever error they lead it to, assertions included.
        raise WeightsError(
            f"{path} is truncated or not a checkpoint ({_first_sentence(error)}); download it again"
        ) from error


def _first_sentence(error: BaseException) -> str:
    line = (str(error).splitlines() or [""])[0]
    return line.partition(". ")[0][:160] or type(error).__name__
