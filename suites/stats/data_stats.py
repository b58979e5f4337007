"""The suite `data-stats`: images and masks of training sets, counted in the data that are there (Table 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError, LinBenchError, StoreError, UsageError
from ...results.provenance import collect
from ...results.schema import Cell, Row
from ...results.store import Store
from ..base import Event, Progress
from ..data.datasets import dataset_spec, find_dataset, locate
from ..data.decode import file_hash
from ..data.demo.build import build_demo, demo_root
from ..data.demo.entityseg import build_entityseg
from ..data.masks import MaskDataset
from ..data.mixes import get_mix
from .counting import annotated, annotation_file, count_images

PAPER_SETS = tuple(one.name for one in get_mix("rwkvsam").sets)
_SAID_EVERY = 50

Say = Callable[[str], None]


@dataclass(frozen=True)
class DataStatsOptions:
    """What to count.

    Attributes:
        datasets: Registered sets; None for those of the paper's Table 2 that are there.
        data: Root of the real data sets; None for the demo data.
        limit: Read the masks of the first images only; annotation files are counted whole.
        max_bad: Unreadable images of a set that are tolerated; they are listed and left out.
        workers: Threads that read masks.
        cache: Folder for demo data.
    """

    datasets: tuple[str, ...] | None = None
    data: Path | None = None
    limit: int | None = None
    max_bad: int = 0
    workers: int = 2
    cache: Path = field(default_factory=lambda: Path(".cache"))

    def __post_init__(self) -> None:
        for name in self.datasets or ():
            dataset_spec(name)
        if self.datasets is not None and not self.datasets:
            raise UsageError(f"no data set given; for example --datasets {','.join(PAPER_SETS)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit is {self.limit}; expected 1 or more")
        if self.max_bad < 0 or self.workers < 0:
            raise UsageError(f"--max-bad is {self.max_bad}, --workers is {self.workers}; expected 0 or more of both")


class _Set(NamedTuple):
    """A set that is there: opened, or the reason why it cannot be."""

    cell: Cell
    dataset: MaskDataset | None
    error: str = ""


class DataStats:
    """Counts of data sets; see `suites.base.Suite`."""

    name = "data-stats"
    summary = "images and masks of training sets, as annotated and as read"

    def plan(self, options: DataStatsOptions) -> list[Cell]:
        """One cell for each set, `dataset:<name>`. Draws the demo data where they are needed."""
        return [one.cell for one in _open(options, lambda _: None)]

    def run(
        self, options: DataStatsOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Count each set, store its row and yield it; see `suites.base.Suite.run`.

        A set that is there and cannot be read gives a row `failed`, and the next one is counted.

        Raises:
            DataError: A set that was asked for by name is not there, or none is.
        """
        made, total = 0, 1

        def say(message: str) -> None:
            if progress is not None:
                progress(Event(made, total, message))

        found = _open(options, say)
        total = len(found)
        for one in found:
            row = store.done(one.cell) if resume else None
            if row is None:
                row = self._row(one, options, store, say)
            made += 1
            yield row

    def _row(self, one: _Set, options: DataStatsOptions, store: Store, say: Say) -> Row:
        try:
            row = _counted(one, options, say)
        except KeyboardInterrupt:
            store.write(Row(one.cell, "interrupted", provenance=collect(), error="interrupted"))
            raise
        except StoreError:
            raise
        except LinBenchError as error:
            row = Row(one.cell, "failed", provenance=collect(), error=str(error))
        store.write(row)
        return row


DATA_STATS = DataStats()


def _open(options: DataStatsOptions, say: Say) -> list[_Set]:
    roots = _roots(options, say)
    found: list[_Set] = []
    absent = []
    for name in dict.fromkeys(options.datasets or PAPER_SETS):
        try:
            locate(name, roots[name])
        except DataError as error:
            absent.append(str(error))
            continue
        found.append(_open_one(name, roots[name], options))
    if absent and (options.datasets is not None or not found):
        raise DataError("; ".join(absent))
    for problem in absent:
        say(f"left out: {problem}")
    return found


def _roots(options: DataStatsOptions, say: Say) -> dict[str, Path]:
    names = options.datasets or PAPER_SETS
    if options.data is not None:
        return dict.fromkeys(names, options.data)

    def drawing(done: int, count: int) -> None:
        say(f"drawing demo data {done}/{count}")

    drawn = build_demo(demo_root(cache=options.cache), progress=drawing)
    return {name: build_entityseg(options.cache, progress=drawing) if name == "entityseg" else drawn for name in names}


def _open_one(name: str, root: Path, options: DataStatsOptions) -> _Set:
    params: dict[str, Any] = {
        "data": "demo" if options.data is None else "real",
        "title": dataset_spec(name).title,
        "limit": options.limit,
    }
    try:
        dataset = find_dataset(name, root)
        file = annotation_file(dataset)
        params["fingerprint"] = dataset.fingerprint()
        params["annotations_sha256"] = None if file is None else file_hash(file)[:16]
    except DataError as error:
        return _Set(Cell(DataStats.name, f"dataset:{name}", params), None, str(error))
    return _Set(Cell(DataStats.name, f"dataset:{name}", params), dataset)


def _counted(one: _Set, options: DataStatsOptions, say: Say) -> Row:
    dataset, title = one.dataset, one.cell.params["title"]
    if dataset is None:
        raise DataError(one.error)
    say(f"{title}: annotations")
    metrics: dict[str, float | int | None] = dict(annotated(dataset))
    counts, bad, per_image = [], [], []
    for number, image in enumerate(count_images(dataset, limit=options.limit, workers=options.workers), 1):
        if image.error:
            bad.append(image.error)
            if len(bad) > options.max_bad:
                raise DataError(
                    f"{title}: an image cannot be read: {image.error}; mend it, or tolerate such with --max-bad"
                )
            continue
        counts.append(image)
        per_image.append(image.masks)
        if number % _SAID_EVERY == 0:
            say(f"{title}: {number}/{len(dataset)}")
    metrics |= {
        "images": len(counts),
        "masks": sum(per_image),
        "images_without_mask": per_image.count(0),
        "empty_masks": sum(image.empty for image in counts),
        "bad_images": len(bad),
    }
    if counts and all(image.annotated is not None for image in counts):
        metrics["annotated_masks"] = sum(image.annotated or 0 for image in counts)
    official = dataset_spec(one.cell.backbone.partition(":")[2]).count or None
    facts = {"bad_images": bad, "problems": dataset.problems(), "official_images": official}
    return Row(one.cell, "ok", metrics, {"masks": per_image}, {**collect(), "run": facts})
