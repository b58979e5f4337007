"""Published mixes of training sets as data: how often an epoch shows each set, and how its samples are drawn."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError, UsageError
from .augment import AugmentOptions
from .datasets import dataset_spec, find_dataset
from .masks import MaskDataset

FLIP = 0.5
PAPER_INSTANCES = 20


@dataclass(frozen=True)
class MixedSet:
    """One set of a mix.

    Attributes:
        name: Registry name of the set.
        images: Images that the published training counts.
        repeats: How often an epoch shows each of them.
        augment: How its samples are drawn.
    """

    name: str
    images: int
    repeats: int
    augment: AugmentOptions

    def __post_init__(self) -> None:
        dataset_spec(self.name)
        if self.images < 1 or self.repeats < 1:
            raise UsageError(f"{self.name}: {self.images} images x {self.repeats}; expected 1 or more of both")

    @property
    def samples(self) -> int:
        """Samples of an epoch."""
        return self.images * self.repeats


@dataclass(frozen=True)
class Mix:
    """Training sets that are shown together.

    Attributes:
        name: Registry name.
        sets: In the order of the publication.
        source: Where the numbers come from.
    """

    name: str
    sets: tuple[MixedSet, ...]
    source: str

    def __post_init__(self) -> None:
        names = [one.name for one in self.sets]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"mix {self.name} names the sets {names}; expected at least one, each once")

    @property
    def samples(self) -> int:
        """Samples of an epoch on the whole official sets."""
        return sum(one.samples for one in self.sets)

    def steps(self, *, epochs: int, images: int) -> int:
        """Steps of `images` samples that show the official sets `epochs` times, the last one filled up."""
        return -(-epochs * self.samples // images)


class OpenMix(NamedTuple):
    """A mix whose sets are there: three arguments of `TrainBatches`, of equal length.

    Attributes:
        datasets: The opened sets.
        repeats: Of each.
        options: Augmentation of each.
    """

    datasets: tuple[MaskDataset, ...]
    repeats: tuple[int, ...]
    options: tuple[AugmentOptions, ...]


def _drawn(scale: tuple[float, float], *, instances: int = PAPER_INSTANCES, pad: int | None = None) -> AugmentOptions:
    return AugmentOptions(
        flip=FLIP, scale=scale, colour=0.0, max_instances=instances, min_area=32, mixed_filters=False, pad=pad
    )


_COCONUT = MixedSet("coconut", 233_960, 1, _drawn((0.1, 2.0)))
_ENTITYSEG = MixedSet("entityseg", 31_913, 4, _drawn((0.8, 2.0)))
_DIS = MixedSet(
    "dis-tr",
    3_000,
    40,
    AugmentOptions(flip=0.0, scale=(1.0, 1.0), colour=0.0, max_instances=1, min_area=1, mixed_filters=False),
)
_SA1B = MixedSet("sa-1b", 111_860, 1, _drawn((1.0, 1.5)))
_HQSEG = {
    "dis-tr": 3_000,
    "thinobject-tr": 4_748,
    "fss-1000": 10_000,
    "duts-tr": 10_553,
    "duts-te": 5_019,
    "ecssd": 1_000,
    "msra10k": 10_000,
}
_OVSAM = "arXiv 2406.19369, Table 2; HarborYuan/ovsam, projects/rwkvsam"

MIXES: Mapping[str, Mix] = {
    mix.name: mix
    for mix in (
        Mix("rwkvsam", (_COCONUT, _ENTITYSEG, _DIS), _OVSAM),
        Mix("rwkvsam+sa-1b", (_COCONUT, _ENTITYSEG, _DIS, _SA1B), _OVSAM),
        Mix(
            "hqseg-44k",
            tuple(MixedSet(name, count, 1, _drawn((0.1, 2.0), instances=1, pad=128)) for name, count in _HQSEG.items()),
            "arXiv 2306.01567; SysCV/sam-hq",
        ),
    )
}


def get_mix(name: str) -> Mix:
    """The mix of a name.

    Raises:
        UsageError: Unknown name; the message proposes the nearest.
    """
    if name in MIXES:
        return MIXES[name]
    near = difflib.get_close_matches(name, MIXES, 1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise UsageError(f"unknown mix '{name}'{hint} Known: {', '.join(MIXES)}")


def open_mix(mix: Mix, root: Path | str | None = None) -> OpenMix:
    """Open every set of a mix below a data root (default `LINBENCH_DATA`).

    Raises:
        UsageError: No data root.
        DataError: Sets are missing or broken; all of them are named.
    """
    opened: list[MaskDataset] = []
    problems = []
    for one in mix.sets:
        try:
            opened.append(find_dataset(one.name, root))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(
            f"mix {mix.name}: {len(problems)} of {len(mix.sets)} sets cannot be used: {'; '.join(problems)}"
        )
    return OpenMix(tuple(opened), tuple(one.repeats for one in mix.sets), tuple(one.augment for one in mix.sets))
