"""What tables of mask ablations share: their columns, and what their captions say of the data and the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..provenance import device_name
from ..schema import Row
from .compared import Compared, Entry

SUITE = "sam-hq"
SETS = ("DIS", "COIFT", "HRSOD")
DEMO_DATA = "demo data: procedurally drawn; not comparable with the paper's data, so no difference is given"
_DATA = {"demo": DEMO_DATA, "real": "real images", "folders": "the user's own folders"}


def trained_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of trained systems of the suite `sam-hq`."""
    return [row for row in rows if row.cell.suite == SUITE and row.cell.params.get("stage") == "trained"]


def mask_columns(data: str | None) -> list[Compared]:
    """The mean IoU on each set, and what it has over the first line."""
    return [
        Compared(f"{name}/miou", name, one_decimal, "high", comparable=data == "real", relative="difference")
        for name in SETS
    ]


def mask_entries(rows: tuple[Row, ...]) -> dict[str, Entry]:
    """The mean IoU of each set."""
    return {f"{name}/miou": Entry(rows, f"{name}/miou") for name in SETS}


def one_decimal(value: float) -> str:
    """As the paper prints."""
    return f"{value:.1f}"


def data_words(kind: str | None) -> str:
    """Which data, in words."""
    return _DATA.get(str(kind), str(kind))


def shared_facts(rows: Sequence[Row], names: Mapping[str, str]) -> list[str]:
    """`Recipe: demo`-like words of the parameters `names`, those that the rows have."""
    found = []
    for name, word in names.items():
        values = sorted({str(row.cell.params[name]) for row in rows if row.cell.params.get(name) is not None})
        found += [f"{word}: {', '.join(values)}"] if values else []
    return found


def device_of(rows: Iterable[Row]) -> str:
    """The device that rows share."""
    return ", ".join(sorted({device_name(row) for row in rows}))


def steps_text(rows: Sequence[Row], of: Sequence[str] = ("distill", "joint")) -> str:
    """Steps of each stage of training, those of each seed where they differ; a dash where none is known."""
    known: list[Mapping[str, Any]] = [row.provenance.get("run", {}).get("steps") or {} for row in rows]
    texts = [" + ".join(str(steps.get(stage, 0)) for stage in of) for steps in known if steps]
    return ", ".join(dict.fromkeys(texts)) or "-"


def steps_notes(rows: Sequence[Row], stage: str) -> list[str]:
    """A warning where the clock ended some trainings sooner than others, so that lines differ in more than they say."""
    told: list[Mapping[str, int]] = [row.provenance.get("run", {}).get("steps") or {} for row in rows]
    known = {steps[stage] for steps in told if stage in steps}
    if len(known) < 2:
        return []
    return [f"Not all were trained alike: the recipe's minutes ended some after {min(known)} steps, not {max(known)}."]
