"""A teacher's embeddings in a folder: shards in safetensors, an index with their hashes, and what they were made of."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...backbones.weights import file_sha256
from ...errors import DataError, StoreError, UsageError
from ...results.files import write_atomic

INDEX = "index.json"
FORMAT = 1
SHARD_IMAGES = 64
TENSOR = "embeddings"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_HEADER_BYTES = 256


class Shard(NamedTuple):
    """One finished shard: its size, its hash, and the images without an embedding with the reason."""

    bytes: int
    sha256: str
    bad: dict[int, str]


class EmbeddingCache:
    """Embeddings of numbered images, `SHARD_IMAGES` to a file.

    A shard is written whole or not at all, and counts once the index names it: a kill at any moment costs the shard in
    the making. One process at a time may `put`; any number may read.

    Args:
        folder: Made with the first shard.
        identity: All that decides the embeddings, JSON values only; another one than the folder's is refused.
        count: Images.
        shape: Of one embedding, `(C, H, W)`.
        dtype: `fp32` or `fp16`.

    Raises:
        UsageError: The folder holds embeddings of something else.
        StoreError: The index cannot be read.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], *, count: int, shape: tuple[int, int, int], dtype: str
    ) -> None:
        self.folder = folder
        self.identity = {**identity, "format": FORMAT, "images": count, "shape": list(shape), "dtype": dtype}
        self.count = count
        self.shape = shape
        self.dtype = DTYPES[dtype]
        self._verified: set[int] = set()
        self._verifying = threading.Lock()
        self._shards: dict[int, Shard] = {}
        self.reload()

    def reload(self) -> None:
        """Read the index again, after another process may have written to it."""
        path = self.folder / INDEX
        if not path.is_file():
            return
        try:
            index = json.loads(path.read_bytes())
            found = dict(index["identity"])
            shards = {int(number): _shard(entry) for number, entry in index["shards"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} cannot be read ({type(error).__name__}: {error}); delete {self.folder}"
            ) from error
        other = [key for key in sorted({*found, *self.identity}) if found.get(key) != self.identity.get(key)]
        if other:
            differences = ", ".join(f"{key} {found.get(key)!r}, expected {self.identity.get(key)!r}" for key in other)
            raise UsageError(
                f"{self.folder} holds embeddings of something else ({differences}); give another folder or delete it"
            )
        self._shards = shards

    @property
    def bytes_each(self) -> int:
        """Bytes of one embedding."""
        channels, height, width = self.shape
        return channels * height * width * self.dtype.itemsize

    @property
    def bytes_total(self) -> int:
        """Bytes of all shards, headers included."""
        return self.bytes_each * self.count + _HEADER_BYTES * self.shards

    @property
    def bytes_missing(self) -> int:
        """Bytes that are still to be written."""
        return sum(self.bytes_each * len(self.members(number)) + _HEADER_BYTES for number in self.missing())

    @property
    def shards(self) -> int:
        """Shards of the whole set."""
        return -(-self.count // SHARD_IMAGES)

    @property
    def bad(self) -> dict[int, str]:
        """Images without an embedding, and why."""
        return {index: text for shard in self._shards.values() for index, text in shard.bad.items()}

    def path(self, number: int) -> Path:
        """File of a shard."""
        return self.folder / f"shard-{number:05d}.safetensors"

    def members(self, number: int) -> range:
        """Images of a shard."""
        return range(number * SHARD_IMAGES, min(self.count, (number + 1) * SHARD_IMAGES))

    def missing(self) -> list[int]:
        """Shards that are not there, or not of the size that the index says."""
        return [number for number in range(self.shards) if not self._is_there(number)]

    def put(self, number: int, embeddings: Tensor, bad: Mapping[int, str]) -> None:
        """Store a shard for good.

        Args:
            number: Which shard.
            embeddings: `[n, C, H, W]`, in the order of `members`; rows of bad images hold anything.
            bad: Images of this shard that have no embedding, and why.

        Raises:
            StoreError: The folder cannot be written; finished shards stay.
            UsageError: A value does not fit the dtype.
        """
        stored = embeddings.detach().to("cpu", self.dtype).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise UsageError(f"the teacher's embeddings do not fit {self.identity['dtype']}; leave --fp16 out")
        data = save({TENSOR: stored}, {"first": str(self.members(number).start)})
        entry = Shard(len(data), hashlib.sha256(data).hexdigest(), dict(bad))
        shards = {**self._shards, number: entry}
        index = {"identity": self.identity, "shards": {key: shard._asdict() for key, shard in sorted(shards.items())}}
        try:
            write_atomic(self.path(number), data, overwrite=True)
            write_atomic(self.folder / INDEX, (json.dumps(index, indent=1) + "\n").encode(), overwrite=True)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path(number)}: {error.strerror or error}; finished shards are kept: free space "
                "and run the same command again"
            ) from error
        self._shards = shards

    def row(self, index: int) -> Tensor:
        """The embedding of an image, `[C, H, W]` in the stored dtype; a shard's hash is checked when it is first read.

        Raises:
            DataError: The shard is missing or damaged; it is named.
        """
        number = index // SHARD_IMAGES
        self._verify(number)
        try:
            with safe_open(self.path(number), "pt") as file:
                found: Tensor = file.get_slice(TENSOR)[index - self.members(number).start]
        except (OSError, SafetensorError, IndexError) as error:
            raise self._damaged(number, str(error)) from error
        return found

    def _verify(self, number: int) -> None:
        with self._verifying:
            if number in self._verified:
                return
            if not self._is_there(number):
                raise self._damaged(number, "it is missing, or has another size than the index says")
            if file_sha256(self.path(number)) != self._shards[number].sha256:
                raise self._damaged(number, "its SHA-256 is not the index's")
            self._verified.add(number)

    def _is_there(self, number: int) -> bool:
        shard, path = self._shards.get(number), self.path(number)
        return shard is not None and path.is_file() and path.stat().st_size == shard.bytes

    def _damaged(self, number: int, reason: str) -> DataError:
        return DataError(
            f"{self.path(number)} is damaged ({reason}); delete it and run the same command again: it alone is made "
            "anew"
        )


def _shard(entry: Mapping[str, Any]) -> Shard:
    bad = {int(index): str(text) for index, text in entry["bad"].items()}
    return Shard(int(entry["bytes"]), str(entry["sha256"]), bad)
