"""Suite `latency`: median latency and peak memory of backbones over resolution, one fresh process for each subject.

Protocol `blp-1-core`: frozen flags, output checked to be finite, warm-up until two halves agree, then rounds in which
the subjects take turns in shuffled order, so that ratios between them are paired on a noisy machine; a cell ends when
the 95 % interval of its median is narrow enough or its budget is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backbones import backbone_spec
from ..errors import UsageError
from ..results.schema import Cell, Row
from ..results.store import Store
from .base import Event, Progress, finished_rows
from .latency_options import LatencyOptions, parse_resolutions
from .latency_sweep import Sweep, subjects_of
from .runner.environment import default_threads

__all__ = ["SUITE", "LatencyOptions", "LatencySuite", "parse_resolutions"]

PROTOCOL = "blp-1-core"


class LatencySuite:
    """Latency over resolution; see `suites.base.Suite`."""

    name = "latency"
    summary = "latency and peak memory of backbones over input resolution"

    def plan(self, options: LatencyOptions) -> list[Cell]:
        """One cell for each resolution, backbone and (where the model has the choice) kind of attention."""
        sizes = sorted(set(options.resolutions))
        subjects = [
            (name, kind) for name in dict.fromkeys(options.backbones) for kind in _attention_kinds(name, options)
        ]
        if options.interleave:
            order = [(size, *subject) for size in sizes for subject in subjects]
        else:
            order = [(size, *subject) for subject in subjects for size in sizes]
        return [Cell(self.name, name, _params(options, size, name, kind)) for size, name, kind in order]

    def run(
        self, options: LatencyOptions, *, store: Store, progress: Progress | None = None, resume: bool = True
    ) -> Iterator[Row]:
        """Measure the cells of `plan(options)`; see `suites.base.Suite.run`.

        Args:
            options: What to measure, how long and how often.
            store: Where every row goes as soon as it is made.
            progress: Called at every step.
            resume: Yield the stored row of a cell that has an ok one from this device, instead of measuring it again.

        Raises:
            UsageError: The device is not there.
            KeyboardInterrupt: After the workers were killed and the cells begun were stored as interrupted.
        """
        cells, timing = self.plan(options), options.timing
        finished = finished_rows(cells, store) if resume else {}
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

        subjects = subjects_of(pending, timing)
        for group in [subjects] if timing.interleave else [[subject] for subject in subjects]:
            yield from Sweep(group, timing, keep=keep, say=say).run()


def check_device(device: str) -> None:
    """Raise a UsageError where torch does not find `device`, `cpu` or `cuda:<index>`."""
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2]) >= count:
        found = f"{count} CUDA device(s)" if count else "no CUDA device"
        raise UsageError(f"device '{device}' is not there: torch finds {found}; use --device cpu or another index")


def _attention_kinds(name: str, options: LatencyOptions) -> tuple[str | None, ...]:
    if options.subject is not None or backbone_spec(name).mixer != "softmax":
        return (None,)
    return tuple(dict.fromkeys(options.attention))


def _params(options: LatencyOptions, resolution: int, name: str, attention: str | None) -> dict[str, Any]:
    params: dict[str, Any] = {
        "stage": "backbone",
        "res": resolution,
        "batch": options.batch,
        "dtype": options.dtype,
        "device": "cuda:0" if options.device == "cuda" else options.device,
        "threads": options.threads or default_threads(),
        "attention": attention,
        "channels_last": options.channels_last,
        "compile": options.compile,
        "weights": "random",
        "seed": options.seed,
        "protocol": PROTOCOL,
    }
    if options.kernels != "auto" and options.subject is None and backbone_spec(name).operators:
        params["kernels"] = options.kernels
    if options.memory_limit_mib is not None:
        params["memory_limit_mib"] = options.memory_limit_mib
    if options.subject is not None:
        params["subject"] = options.subject
    return params


def _told(row: Row) -> str:
    what = f"{row.cell.backbone} at {row.cell.params['res']}"
    return (
        f"{what}: {row.metrics['latency_ms']:.4g} ms" if row.status == "ok" else f"{what}: {row.status} ({row.error})"
    )


SUITE = LatencySuite()
