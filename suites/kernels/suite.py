"""Suite `kernels`: implementations of operators, side by side.

Protocol `kernels-1`: every implementation in a process of its own; outputs and gradients compared with the float64
reference first, and no time for a wrong one; then rounds in which all implementations of an operator take turns in
shuffled order; what the machine can do at best (copying, matrix products, exponentials) measured in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...results.provenance import device_name as row_device
from ...results.schema import Cell, Row
from ...results.store import Store
from ..base import Event, Progress, device_name, finished_rows
from ..latency import check_device
from ..runner.environment import default_threads
from .catalogue import implementations
from .options import KernelOptions, format_sizes
from .sweep import Sweep

PROTOCOL = "kernels-1"


class KernelSuite:
    """Implementations of operators; see `suites.base.Suite`. The cells' `backbone` is the operator."""

    name = "kernels"
    summary = "implementations of operators: errors, times, share of the roofline"

    def plan(self, options: KernelOptions) -> list[Cell]:
        """One cell for each case, dtype, number of threads, direction, way to launch and implementation."""
        on_cpu = options.device == "cpu"
        dtypes = options.dtypes or (("fp32",) if on_cpu else ("fp32", "bf16"))
        threads = (options.threads or (default_threads(),)) if on_cpu else (None,)
        launches = options.launches or (("eager",) if on_cpu else ("eager", "graph"))
        return [
            Cell(
                self.name,
                case.operator,
                {
                    "case": base.name,
                    "shape": format_sizes(case.shape),
                    "backend": backend,
                    "direction": direction,
                    "dtype": dtype,
                    "device": "cuda:0" if options.device == "cuda" else options.device,
                    "threads": count,
                    "launch": launch,
                    "cache": "cold" if launch == "eager" and not on_cpu else "warm",
                    "source": options.source,
                    "seed": options.seed,
                    "protocol": PROTOCOL,
                },
            )
            for base, case in options.cases()
            for dtype in dtypes
            for direction in options.directions
            for count in threads
            for launch in launches
            for backend in implementations(case.operator)
            if not options.backends or backend in options.backends
        ]

    def run(
        self, options: KernelOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Measure the cells of `plan(options)`; see `suites.base.Suite.run`.

        Args:
            options: What to measure, how long and how often.
            store: Where every row goes as soon as it is made, but for a row that says no more than its cell's last.
            progress: Called at every step.
            resume: Yield the stored row of a cell that has an ok one from this device, instead of measuring it again.

        Raises:
            UsageError: The device is not there.
            KeyboardInterrupt: After the workers were killed and the cells begun were stored as interrupted.
        """
        cells = self.plan(options)
        for device in {cell.params["device"] for cell in cells}:
            check_device(device)
        finished = finished_rows(cells, store) if resume else {}
        yield from finished.values()
        stored = {(row.cell.key, row_device(row)): row for row in (store.latest(self.name) if cells else [])}
        last = {cell.key: stored.get((cell.key, device_name(cell.params["device"]))) for cell in cells}
        done = len(finished)

        def say(message: str) -> None:
            if progress is not None:
                progress(Event(done, len(cells), message))

        def keep(row: Row) -> None:
            nonlocal done
            before = last[row.cell.key]
            if before is None or row.status not in ("unsupported", "skipped") or before.error != row.error:
                store.write(row)
            done += 1
            say(_told(row))

        if options.abridged:
            say("one shape of each operator; --shape all measures every one")
        pending = [cell for cell in cells if cell.key not in finished]
        yield from Sweep(pending, options.timing, patience_s=options.patience_s, keep=keep, say=say).run()


def _told(row: Row) -> str:
    params: Any = row.cell.params
    what = f"{row.cell.backbone} {params['case']} {params['direction']} {params['dtype']}: {params['backend']}"
    return f"{what}: {row.metrics['time_ms']:.4g} ms" if row.status == "ok" else f"{what}: {row.status} ({row.error})"


SUITE = KernelSuite()
