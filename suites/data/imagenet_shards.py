"""ImageNet in WebDataset shards: tar files whose members `<key>.jpg` and `<key>.cls` are image and class number."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from .decode import IMAGE_SUFFIXES, Pixels, read_image
from .imagenet import IMAGENET_CLASSES, LabelledImages, Labels, fingerprinted, not_too_narrow
from .masks import shortened


class _Member(NamedTuple):
    shard: int
    offset: int
    size: int


class ImageNetShards(LabelledImages):
    """One split in shards as the `webdataset` package writes them. Their headers are read once; images in any order.

    Random access is what a training that resumes at any step needs, and what streaming lacks.

    Args:
        name: For tables and messages.
        shards: The tar files, not compressed.
        classes: Number of classes; by default one more than the largest label.

    Raises:
        DataError: A shard is unreadable, an image has no label, a label is out of range, or there is no image.
    """

    def __init__(self, name: str, shards: Sequence[Path], *, classes: int | None = None) -> None:
        self.name, self.shards = name, tuple(sorted(shards))
        self._members: list[_Member] = []
        items: list[str] = []
        labels: list[int] = []
        for place, shard in enumerate(self.shards):
            images, found = _read_headers(shard, place)
            lonely = sorted(set(images) ^ set(found))
            if lonely:
                raise DataError(f"{shard}: image or .cls is missing for {shortened(lonely)}; write the shard again")
            items += [f"{shard.name}/{key}" for key in images]
            labels += [found[key] for key in images]
            self._members += images.values()
        if not items:
            raise DataError(f"{name}: no image in {shortened([str(shard) for shard in self.shards])}")
        self.items, self.labels = tuple(items), np.array(labels, np.int64)
        count = int(self.labels.max()) + 1 if classes is None else classes
        outside = np.flatnonzero((self.labels < 0) | (self.labels >= count))
        if len(outside):
            where = int(outside[0])
            raise DataError(
                f"{name}: {items[where]} has label {labels[where]}; expected 0 to {count - 1}, as in the training set"
            )
        self.classes = tuple(str(place) for place in range(count))
        self.upright = count != IMAGENET_CLASSES

    def image(self, index: int) -> Pixels:
        path = Path(self.items[index])
        return not_too_narrow(read_image(path, self._content(index), upright=self.upright), self.items[index])

    def targets(self, outputs: int) -> Labels:
        """The labels as the shards have them, which are places among the outputs already.

        Raises:
            DataError: A label has no output.
        """
        if int(self.labels.max()) >= outputs:
            raise DataError(
                f"{self.name}: labels up to {int(self.labels.max())} for a head with {outputs} outputs; use weights "
                "that were trained on these classes"
            )
        return self.labels

    def fingerprint(self, *, full: bool = False) -> str:
        digest = hashlib.sha256(self.name.encode())
        hashed = fingerprinted(len(self), full)
        for index, (item, label, member) in enumerate(
            zip(self.items, self.labels.tolist(), self._members, strict=True)
        ):
            content = hashlib.sha256(self._content(index)).hexdigest() if index in hashed else ""
            digest.update(f"\n{item}\t{label}\t{member.size}\t{content}".encode())
        return digest.hexdigest()[:16]

    def _content(self, index: int) -> bytes:
        member = self._members[index]
        shard = self.shards[member.shard]
        try:
            with shard.open("rb") as file:
                file.seek(member.offset)
                return file.read(member.size)
        except OSError as error:
            raise DataError(f"{shard}: cannot be read ({error.strerror})") from error


def _read_headers(shard: Path, place: int) -> tuple[dict[str, _Member], dict[str, int]]:
    images: dict[str, _Member] = {}
    labels: dict[str, int] = {}
    size = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, _, ending = Path(member.name).name.partition(".")
                key = str(Path(member.name).parent / key)
                if not member.isfile():
                    continue
                if member.offset_data + member.size > size:
                    raise DataError(f"{shard}: truncated in {member.name}; get it again")
                if f".{ending.lower()}" in IMAGE_SUFFIXES:
                    images[key] = _Member(place, member.offset_data, member.size)
                elif ending == "cls":
                    content = archive.extractfile(member)
                    labels[key] = int(content.read()) if content is not None else -1
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{shard}: no whole shard ({error}); expected a tar file of .jpg and .cls members") from error
    return images, labels
