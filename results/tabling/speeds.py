"""Frames per second of the lines of an ablation, from rows of the suite `latency`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..provenance import device_name
from ..published import PublishedTable
from ..schema import Row
from ..series import of_one_sweep
from ..words import counted
from .compared import Compared, Entry
from .complete import Variants, newest_complete
from .latency_values import is_timed

_MS = 1000.0


def speeds(
    rows: Sequence[Row],
    published: PublishedTable,
    *,
    device: str,
    stage: str,
    backbones: Collection[str],
    variant: Callable[[Row], str],
    ablated: Sequence[str] = (),
) -> Variants:
    """Latencies of one image on a device, all at one setting, of the newest sweep that has them all if there is one.

    Args:
        rows: Any rows.
        published: The table whose lines are wanted; its resolution goes before others.
        device: As tables name it.
        stage: Of the latency suite.
        backbones: Names of models in cells.
        variant: Name of a row's line.
        ablated: Parameters that tell lines apart.
    """

    def fits(row: Row) -> bool:
        params = row.cell.params
        one = params.get("batch") == 1 and params.get("prompts") in (None, 1)
        return is_timed(row) and one and params.get("stage") == stage and row.cell.backbone in backbones

    found = newest_complete(
        [row for row in rows if fits(row) and device_name(row) == device],
        wanted=[line.names[0] for line in published.rows],
        variant=variant,
        ablated=ablated,
        prefer=lambda row: row.cell.params.get("res") == published.resolution,
    )
    kept = {id(row) for row in of_one_sweep([row for members in found.values() for row in members])}
    return {name: tuple(row for row in members if id(row) in kept) for name, members in found.items()}


def speed_entry(rows: tuple[Row, ...]) -> Entry:
    """Frames per second of latencies."""
    return Entry(rows, "latency_ms", scale=_MS, inverse=True)


def speed_column(found: Variants, published: PublishedTable, device: str) -> Compared:
    """FPS; comparable with the paper's on its device, at its resolution."""
    sizes = {row.cell.params.get("res") for rows in found.values() for row in rows}
    alike = bool(published.device) and str(published.device) in device and sizes == {published.resolution}
    return Compared("fps", "FPS", "{:.3g}".format, "high", comparable=alike, relative="ratio")


def speed_words(found: Variants) -> str:
    """The setting of the speeds."""
    params = next((row.cell.params for rows in found.values() for row in rows), None)
    if params is None:
        return "FPS: not measured on this device"
    told = [f"FPS at {params.get('res')}x{params.get('res')}", str(params.get("dtype"))]
    return ", ".join([*told, *([counted(params["threads"], "thread")] if params.get("device") == "cpu" else [])])
