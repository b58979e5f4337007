"""Suite `latency`: how long models take, and how much memory, over resolution; one fresh process for each subject.

Protocol BLP-1: frozen flags; outputs held against reference kernels, and no time for a wrong one; warm-up until two
halves agree; rounds in which the subjects take turns in shuffled order, so that ratios between them are paired on a
noisy machine; blocks that the machine disturbed are measured again; a cell ends when the 95 % interval of its median
is narrow enough or its budget is spent. Cells name its first version, `blp-1-core`, so that older rows stay found.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from ...errors import UsageError
from ...results.schema import Cell, Row
from ...results.series import NUMBERED
from ...results.store import Store
from ..base import Event, Progress, finished_rows
from ..runner.health import load_average
from .cells import SUITE_NAME, planned_cells
from .noise import Noise
from .options import LatencyOptions
from .sweep import MODULE, Sweep, panels_of, subjects_of


class LatencySuite:
    """Latency and throughput over resolution; see `suites.base.Suite`."""

    name = SUITE_NAME
    summary = "latency, throughput and memory of backbones and systems over resolution"

    def plan(self, options: LatencyOptions) -> list[Cell]:
        """One cell for each resolution, model, stage and setting; see `cells.planned_cells`."""
        return planned_cells(options)

    def run(
        self, options: LatencyOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Measure the cells of `plan(options)`; see `suites.base.Suite.run`.

        Args:
            options: What to measure, how long and how often.
            store: Where every row goes as soon as it is made.
            progress: Called at every step.
            resume: Yield the stored row of a cell that has an ok one from this device, instead of measuring it again.

        Yields:
            Rows of the cells, and one of the noise floor where anything was measured.

        Raises:
            UsageError: The device is not there.
            KeyboardInterrupt: After the workers were killed and the cells begun were stored as interrupted.
        """
        cells, timing = self.plan(options), options.timing
        finished = _whole_pairs(cells, finished_rows(cells, store)) if resume else {}
        yield from finished.values()
        pending = [cell for cell in cells if cell.key not in finished]
        for device in {cell.params["device"] for cell in pending}:
            check_device(device)
        done = len(finished)

        def say(message: str) -> None:
            if progress is not None:
                progress(Event(done, len(cells), message))

        def keep(row: Row) -> None:
            nonlocal done
            store.write(row)
            done += 1
            say(_told(row))

        name, load = secrets.token_hex(4), load_average()
        subjects = subjects_of(pending, timing)
        groups = panels_of(subjects) if timing.interleave else [[subject] for subject in subjects]
        noise = _noise(options, pending[0], name) if options.sentinel and pending else None
        measured, middle = 0, (len(pending) + 1) // 2
        try:
            if noise:
                say("sentinel")
                noise.measure("begin")
            for index, group in enumerate(groups):
                for row in Sweep(group, timing, name=name, panel=index, load_before=load, keep=keep, say=say).run():
                    yield row
                    measured += 1
                    if noise and measured == middle < len(pending):
                        noise.measure("middle")
            if noise:
                noise.measure("end")
                row = noise.row()
                store.write(row)
                yield row
        finally:
            if noise:
                noise.close()


def check_device(device: str) -> None:
    """Raise a UsageError where torch does not find `device`, `cpu` or `cuda:<index>`."""
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2]) >= count:
        found = f"{count} CUDA device(s)" if count else "no CUDA device"
        raise UsageError(f"device '{device}' is not there: torch finds {found}; use --device cpu or another index")


def _whole_pairs(cells: Sequence[Cell], finished: dict[str, Row]) -> dict[str, Row]:
    """Without twins whose other is missing: only rounds that both took part in say anything."""

    def pair(cell: Cell) -> Cell:
        return Cell(cell.suite, cell.backbone, {k: v for k, v in cell.params.items() if k != "twin"})

    missing = {pair(cell).key for cell in cells if "twin" in cell.params and cell.key not in finished}
    return {key: row for key, row in finished.items() if pair(row.cell).key not in missing}


def _noise(options: LatencyOptions, cell: Cell, name: str) -> Noise:
    return Noise(
        device=cell.params["device"],
        threads=cell.params["threads"],
        seed=options.seed,
        sweep=name,
        timeout_s=options.timeout_s,
        module=MODULE,
    )


def _told(row: Row) -> str:
    what = f"{row.cell.backbone} at {row.cell.params['res']}"
    if row.status not in NUMBERED:
        return f"{what}: {row.status} ({row.error})"
    if row.metrics.get("images_per_s") is not None:
        return f"{what}: {row.metrics['images_per_s']:.4g} images/s at batch {row.metrics['best_batch']}"
    return f"{what}: {row.metrics['latency_ms']:.4g} ms"


SUITE = LatencySuite()
